"""Predictions for every face in a camera stream, a video or an image."""
