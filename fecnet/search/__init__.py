"""Retrieval of the most similar expressions: an index of embeddings on disk, queries, evaluation."""
