"""Plays demand against a living engine with real requests, and measures what comes of it."""
