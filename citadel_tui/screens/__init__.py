"""Screens: the dashboard and what opens over it. Each is imported when it is first needed."""
