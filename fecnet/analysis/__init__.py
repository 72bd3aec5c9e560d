"""Tables of all faces of photos and videos, with tracks over frames, change of expression, its peaks and a plot."""
