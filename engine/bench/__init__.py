"""How fast switches are: what is recorded of a benchmark, and what may be concluded from it."""
