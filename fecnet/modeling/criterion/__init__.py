"""What is minimised, and what it counts.

A criterion maps a model's outputs and a batch to terms: for each term the *sum* over this rank's items, and by
``count`` the sum of their weights. The engine divides by the count over all ranks and micro-batches, so that a loss
is the same whoever computes which part of it.
"""
