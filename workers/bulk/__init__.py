"""Work on batches: a slice of time of one thread, chunks of items, and the sources that items are listed from."""
