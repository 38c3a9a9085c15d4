"""What can keep the local servers from running; every message says what to do about it."""


class LocalError(Exception):
    """Something on this machine is missing or in the way; the message is meant for the person at the terminal."""


class AlreadyInUse(LocalError):
    """Another live server or another `rekollect up` uses the directory."""
