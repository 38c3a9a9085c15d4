"""One module per kind of image operation: run(job, runtime) -> what the finishing transaction does."""
