"""Labelled pictures: a reader per layout, and the one function that packs what they give."""
