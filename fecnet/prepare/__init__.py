"""Converts raw data to packed data sets, before training and atomically. Training does not import this package."""
