"""Exports a trained net to other formats and verifies the file against the net."""
