"""Widgets that paint lines worked out elsewhere; one widget a file."""
