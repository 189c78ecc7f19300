"""What goes over the line: what a frame paints, what the terminal shows already, and the least to write in between."""
