"""Network slimming: which channels go, and the smaller run that is left."""
