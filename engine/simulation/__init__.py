"""The engine's own scheduler on a simulated box and a simulated clock: what a policy makes requests wait. No files, no I/O."""
