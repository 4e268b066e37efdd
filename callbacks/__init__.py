"""The search logic: one Lightning callback a file, named for what it does."""
