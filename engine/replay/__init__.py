"""What a policy would have done with recorded demand: the engine's planner on a simulated box. Pure: no clock, no files."""
