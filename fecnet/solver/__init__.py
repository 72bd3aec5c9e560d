"""Parameter groups, optimizer, gradient rules, schedules."""
