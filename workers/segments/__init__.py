"""Copies of large collections' vectors, compressed, one for all workers of a machine: searched at the speed of memory."""
