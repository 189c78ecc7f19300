"""What is said of plans, records and models as plain text: by the commands, on the pages, and in what is copied."""
