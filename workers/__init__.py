"""What does the work: Celery processes that fetch, look, search and send."""
