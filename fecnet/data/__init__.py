"""From the packed data set to batches on the device: reading, sampling, augmentation."""
