"""Converts raw data to packed data sets, offline and atomically. Training imports none of it."""
