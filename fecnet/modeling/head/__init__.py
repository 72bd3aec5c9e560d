"""Feature map to what a task reads: an embedding, later logits."""
