"""Agreement with people, and the pictures of it."""
