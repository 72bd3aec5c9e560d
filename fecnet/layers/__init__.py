"""Task-independent building blocks of nets."""
