"""Commands that set up the program itself: its configuration, shell and service; and the manual page of the package."""
