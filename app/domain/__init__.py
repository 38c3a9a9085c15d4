"""Rules without I/O; this package imports nothing else of ours except the error names."""
