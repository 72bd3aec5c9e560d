"""Trained nets shipped with fecnet, one folder each, and the functions that find them by name."""
