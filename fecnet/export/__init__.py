"""A trained net as a file for other programs, checked against the net."""
