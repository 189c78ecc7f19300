"""Commands that show what has been: the timeline, and sessions that are recorded and watched."""
