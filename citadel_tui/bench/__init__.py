"""The benchmark in the console: chosen, watched, saved, and held against earlier ones."""
