"""One module per kind of schedule that looks outside Postgres, and the runner of ticks."""
