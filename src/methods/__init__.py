"""One LightningModule a method, on one small base: `search_module`."""
