"""Heads: feature map to an embedding, logits, or both."""
