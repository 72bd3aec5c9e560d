"""The `fecnet` command: main.py, and one file per command."""
