"""Programs that run in a process of their own and print JSON: the only code of the doctor that imports torch."""
