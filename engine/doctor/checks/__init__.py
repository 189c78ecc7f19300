"""The checks: pure functions from the machine to findings. None asks the system anything."""
