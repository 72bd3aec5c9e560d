"""Feature map to what a task reads: an embedding, logits, or both."""
