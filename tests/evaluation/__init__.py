"""`rekollect evaluate`: what it counts, what it fits, what it reads and what it tells."""
