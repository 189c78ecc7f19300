"""Batches that the engine finds by itself."""
