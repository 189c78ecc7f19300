"""How Citadel's way of moving weights compares with the usual ones, measured side by side."""
