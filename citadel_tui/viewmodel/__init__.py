"""What the screens show, worked out from the engine's data alone: no Textual, no clock, no I/O."""
