"""Several boxes as one: each keeps its engine, and the fleet says which of them a model goes to."""
