"""Bulk work: a slice of time of one thread, chunks of batches, the sources that items are listed from, and reprocesses."""
