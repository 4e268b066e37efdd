"""Image data: Lightning data modules. Batches are `(images, labels)`: normalised float32 (B, C, H, W), int64 (B,)."""
