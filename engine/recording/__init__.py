"""What the engine writes down and how it is read back: its journal, the demand that it served, its devices' memory."""
