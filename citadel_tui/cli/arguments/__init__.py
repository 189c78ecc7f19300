"""The arguments of each command, grouped by what the commands are for."""
