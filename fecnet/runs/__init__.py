"""One run: its folder, training, inference, and what it reports."""
