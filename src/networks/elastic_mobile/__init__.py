"""The networks that are searched, as plain PyTorch modules."""
