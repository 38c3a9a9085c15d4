"""Workers of one machine share the files: one builds, all map, and whoever dies leaves nothing that harms."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tests.factories import Embeddings, lookalikes, random_embeddings
from tests.keeping import Kept
from tests.patience import wait_until


class Other:
    """A worker in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def search(self, query: Embeddings, min_cosine: float = 0.5) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"query": query.tolist(), "min_cosine": min_cosine}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def another(kept: Kept, *, hangs: bool = False) -> Iterator[Other]:
    """Start another worker over the same files; in one that hangs no build ever ends."""
    folder = str(kept.file().parent)
    asked = {"url": kept.database.url, "account": kept.account.account_id, "folder": folder, "hangs": hangs}
    command = [sys.executable, "-m", "tests.integration.segments.searcher", json.dumps(asked)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Other(process)
        finally:
            process.kill()


def test_what_one_process_writes_the_other_finds_through_the_same_file(kept: Kept) -> None:
    rng = np.random.default_rng(5)
    kept.warm()
    inode = kept.file().stat().st_ino
    with another(kept) as other:
        query = next(iter(kept.stored.values()))
        wait_until(lambda: other.search(query)["is_fast"])
        for _ in range(10):
            new = random_embeddings(rng, 1)[0]
            ids = kept.store(lookalikes(rng, new, 3))
            answer = other.search(new)
            assert (sorted(answer["found"]), answer["is_fast"]) == (sorted(ids), True)
            assert sorted(kept.search(new, 0.5)) == sorted(ids)
            kept.delete(ids[:2])
            answer = other.search(new)
            assert (answer["found"], answer["is_fast"]) == (ids[2:], True)
    assert kept.file().stat().st_ino == inode, "one file served both"


def test_a_builder_that_is_killed_leaves_nothing_that_harms(kept: Kept) -> None:
    folder = kept.file().parent
    with another(kept, hangs=True) as other:
        query = next(iter(kept.stored.values()))
        for _ in range(3):
            assert not other.search(query)["is_fast"]
        wait_until(lambda: list(folder.glob("*.new")))
        assert kept.fast(6) == 0, "nobody waits for the other's build, and nobody builds beside it"
        other.process.kill()
        other.process.wait()
    assert list(folder.glob("*.segment")) == []
    kept.warm()
    assert kept.fast(4) == 4
    assert list(folder.glob("*.new")) == []
