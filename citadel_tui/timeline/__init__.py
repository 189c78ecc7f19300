"""Who was resident where and when, and what changed it: worked out from what the engine records and shows."""
