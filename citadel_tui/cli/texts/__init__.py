"""Long results as text: what `bench`, `replay` and `report` make of them, apart from how they are come by."""
