"""Photos from the web: polite, safe, resumable. What came is looked at before it counts as a photo."""
