"""Network slimming: channel selection, and the run of the pruned net."""
