"""Networks whose widths change from step to step: which channels a width stands for, and how a network takes them."""
