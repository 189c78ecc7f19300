"""Asks the system: each module brings one part of the machine, and turns what it can't learn into words."""
