"""Every face of photos and films in one table: tracks over frames, change of expression, its peaks and a plot."""
