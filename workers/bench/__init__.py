"""`rekollect bench`: what a search costs on this machine, by each way there is to it."""
