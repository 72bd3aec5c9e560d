"""Building blocks of nets that know nothing of tasks."""
