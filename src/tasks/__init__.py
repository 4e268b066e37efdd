"""What a network is trained for: the loss and the metrics."""
