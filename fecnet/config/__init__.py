"""Configuration: all keys with default, meaning and unit (defaults.py); merging and validation (node.py)."""
