"""Image data: Lightning data modules. Batches are `(images, labels)`: normalised float32 (B, C, H, W), int64 (B,).

Where an image has several labels, they are int64 (B, L) of 0 and 1.
"""
