"""Training criteria (losses).

A criterion maps a model's outputs and a batch to terms: for each term the *sum* over this rank's items, and by
``count`` the sum of their weights. The engine divides by the count over all ranks and micro-batches, so that the loss
does not depend on how the batch is distributed.
"""
