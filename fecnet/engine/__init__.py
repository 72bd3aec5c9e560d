"""The loop: train, checkpoint, resume, predict. It receives built models, criteria and loaders."""
