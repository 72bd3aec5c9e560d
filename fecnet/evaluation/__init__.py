"""Evaluation metrics, their tables and their plots."""
