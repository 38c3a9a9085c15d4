"""How many faces a bucket holds, and how workers move them.

Small collections share buckets; a large one has some of its own, so that a search reads its rows one after the other and nobody
else's. A bucket is the unit that is scanned, vacuumed and dropped.
"""

from datetime import timedelta
from enum import StrEnum

#: Faces above which a collection gets a bucket of its own: from there on a scan in several processes pays.
OWN_BUCKET_FACES = 200_000

#: Faces that a bucket of one collection holds, more or less; then the next one is opened.
CAPACITY = 2_000_000

#: Writers of the collection wait for as long as a batch takes: a tenth of a second.
BATCH = 5_000

#: How long a worker may be silent before another one goes on.
LEASE = timedelta(seconds=30)

#: Before work that failed is tried again.
PAUSE = timedelta(seconds=10)


class BucketWorkKind(StrEnum):
    """What is to be done about the buckets of a collection."""

    GROW = "GROW"
    CLEAR = "CLEAR"
