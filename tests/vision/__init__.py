"""The real networks on real pictures."""
