"""What is decided. Standard library and msgspec only: no I/O, no clock, no logging, no async."""
