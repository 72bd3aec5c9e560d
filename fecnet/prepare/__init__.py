"""Raw material to packed data set: offline, slow, atomic. Nothing here is imported by training."""
