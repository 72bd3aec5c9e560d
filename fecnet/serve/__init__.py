"""``fecnet serve``: a page on this machine to try a net on one's own photos, and the same as JSON."""
