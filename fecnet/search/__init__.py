"""Finding the faces whose expressions are most alike: an index of embeddings on disk, queries, and how good it is."""
