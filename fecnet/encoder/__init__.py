"""A trained net with its preprocessing: from pictures to outputs."""
