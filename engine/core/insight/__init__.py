"""What happened, why, and what it costs."""
