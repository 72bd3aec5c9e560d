"""Embeds images, folders and videos to files, at any scale."""
