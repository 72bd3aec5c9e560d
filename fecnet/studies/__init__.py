"""Several runs: folds, comparisons over seeds, and what runs cost."""
