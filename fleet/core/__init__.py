"""What a fleet decides, on values alone: no clock, no network, nothing to wait for."""
