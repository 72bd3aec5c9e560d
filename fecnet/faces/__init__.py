"""From a photo to an aligned face: decode, detect, align. Preparing data and using a trained net share these steps."""
