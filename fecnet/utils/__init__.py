"""Processes, environment, logging. Nothing of ours is imported here."""
