"""What things will take, and what will be asked for."""
