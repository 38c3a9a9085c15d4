"""The `rekollect` command."""
