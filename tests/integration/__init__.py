"""Our parts against real servers."""
