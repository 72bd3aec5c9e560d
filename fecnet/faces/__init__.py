"""From a photo to an aligned face: decode, detect, align. Shared by data preparation and inference."""
