"""Cascades of trained networks, judged by stored outputs: the pool, its costs, fast and exact evaluation."""
