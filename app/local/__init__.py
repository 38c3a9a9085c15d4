"""The servers that `rekollect up`, the demo and the tests run on one machine."""
