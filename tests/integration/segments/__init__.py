"""Segments: copies of large collections that workers keep."""
