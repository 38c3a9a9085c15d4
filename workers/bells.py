"""How a worker hears a bell: its queue forgot it when it handed it out, so there is nothing to acknowledge.

Celery would tell Redis all the same, a moment later, and the whole worker would die of it where the connection was lost in
between. And a bell is good whenever it is heard, whatever the clocks say of its age.
"""

from celery.worker.request import Request


class Bell(Request):  # type: ignore[misc]  # Celery ships no types
    """A message that is done with once it was heard."""

    def maybe_expire(self) -> bool:
        """Heed no expiry, which an older process may have sent: it was told by another machine's clock."""
        return False

    def acknowledge(self) -> None:
        """Note it without asking Redis."""
        self.acknowledged = True
