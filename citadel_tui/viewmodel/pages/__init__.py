"""The lines of the pages."""
