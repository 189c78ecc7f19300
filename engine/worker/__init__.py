"""One process per device: the only code that imports torch and transformers."""
