"""The engine's own scheduler on a simulated box and a simulated clock: what a policy makes requests wait, and what would help. No
files, no I/O, but for the adviser, which asks another process.
"""
