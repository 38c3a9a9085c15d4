"""A process that makes ticks or runs them, five times a second, until it is killed: `python -m tests.beating sweep|run URL`."""

import sys
import time

from app.db.session import Database
from app.services import schedules, ticks
from app.services.ticks import Progress

_PAUSE_SECONDS = 0.2


def main(what: str, url: str) -> None:
    database = Database(url, pool_size=1)
    while True:
        if what == "sweep":
            schedules.make_ticks(database)
            time.sleep(_PAUSE_SECONDS)
            continue
        held = ticks.claim(database)
        if held is None:
            time.sleep(_PAUSE_SECONDS)
        else:
            ticks.advance(database, held, lambda connection: Progress(None, {"Worker": 1}))


if __name__ == "__main__":
    main(*sys.argv[1:])
