"""Models (backbone, neck, head) and training criteria."""
