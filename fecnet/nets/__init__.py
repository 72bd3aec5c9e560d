"""Trained nets that ship with fecnet, a folder each, and how they are found by name."""
