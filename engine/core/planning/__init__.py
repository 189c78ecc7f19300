"""From a command to a plan."""
