"""Packed data sets, samplers, batch loaders and augmentation."""
