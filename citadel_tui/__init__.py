"""The console over the engine, and the `citadel` command. Sees the engine through its API alone."""
