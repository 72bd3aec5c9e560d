"""A trained net with its preprocessing: maps images to outputs."""
