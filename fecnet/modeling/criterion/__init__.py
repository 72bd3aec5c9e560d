"""What is minimised, and what it counts."""
