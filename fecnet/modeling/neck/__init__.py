"""Feature map to feature map, between backbone and head."""
