"""Using a trained net: from pictures of any kind to embeddings, features and classes, as the net was trained."""
