"""What the hardware says of itself."""
