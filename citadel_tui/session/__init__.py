"""Recorded sessions: what an engine showed, kept in a file and played back in the console."""
