"""The processes (ranks) of one run: how they start, stop together, agree, and share work."""
