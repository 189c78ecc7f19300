"""What the console remembers from one day to the next, and the keys that its operator chose: one file, `console.yaml`."""
