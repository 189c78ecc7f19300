"""What the engine's own records say of it: the figures and verdicts of the results document."""
