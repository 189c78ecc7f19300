"""The lines of the dashboard."""
