"""What follows from each message: one synchronous writer, without a clock or I/O. README.md leads through it."""
