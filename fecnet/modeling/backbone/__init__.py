"""Feature extractors: image (N, C, H, W) to feature map (N, out_channels, h, w)."""
