"""The same work on many machines: Ray schedules and restarts it."""
