"""Pictures, folders and videos to vectors on disk, at any scale."""
