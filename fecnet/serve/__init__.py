"""``fecnet serve``: a web page on this machine to try a net on photos, and the same functions as a JSON interface."""
