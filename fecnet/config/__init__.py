"""Settings: every key with meaning, unit and source (defaults.py), and how files and overrides meet them (node.py)."""
