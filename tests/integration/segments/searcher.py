"""Another worker in a process of its own: it searches what it is told to, line by line."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from app.db.session import Database
from tests.factories import Account
from tests.keeping import Kept, Worker
from workers.segments.file import Writer


def hang(*_: Any) -> None:
    """Do what a build does that never ends."""
    time.sleep(600)


def main() -> None:
    """Search, and print what was found and whether a segment found it."""
    asked = json.loads(sys.argv[1])
    if asked["hangs"]:
        Writer.finish = hang  # type: ignore[assignment,method-assign]
    database = Database(asked["url"])
    account = Account(asked["account"], "", key=None)  # type: ignore[arg-type]
    kept = Kept(database, account, workers=[Worker(database, Path(asked["folder"]))])
    for line in sys.stdin:
        question = json.loads(line)
        before = kept.slow
        found = kept.search(np.array(question["query"], "<f4"), question["min_cosine"])
        sys.stdout.write(json.dumps({"found": found, "is_fast": kept.slow == before}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
