"""Use cases, called by HTTP handlers and by workers."""
