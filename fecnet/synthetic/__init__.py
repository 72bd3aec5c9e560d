"""Synthetic faces: identities, expressions, their rendering, and simulated annotators."""
