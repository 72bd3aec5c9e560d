"""The training loop, checkpoints, evaluation and prediction, for models, criteria and loaders built elsewhere."""
