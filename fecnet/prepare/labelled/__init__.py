"""Labelled images: one reader per data set layout, and one function that packs their output."""
