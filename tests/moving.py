"""A live stack whose collection moves to a second face model version while everybody goes on searching and indexing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.config import Settings
from tests.live import LiveStack
from tests.second_model import write_second_embedder

TWO = "2.0"

#: What is searched for, and the least similarity that answers are compared down to.
PROBE, THRESHOLD = "obama3", 80.0
STRANGER = "biden"

#: The same crop in another batch, and numbers in single precision.
ROUNDING = 1e-3


class Moving:
    """A collection of pictures that repeat under names of their own, and what an answer must be in either version."""

    def __init__(self, live: LiveStack, portraits: dict[str, bytes], settings: Settings, folder: Path) -> None:
        self.live, self.pictures = live, portraits
        self.rekognition = live.rekognition()
        self.command("models", "add", str(write_second_embedder(settings, folder / "second.onnx")),
                     *("--version", TWO, "--mean", "0", "--std", "1"))  # fmt: skip
        self.collection = ""
        self.expected = {"1.0": self._fresh("1.0"), TWO: self._fresh(TWO)}

    def command(self, *arguments: str) -> str:
        """Run `rekollect` beside the stack."""
        reach = {"REKOLLECT_URL": self.live.url, "REKOLLECT_API_KEY": self.live.key.api_key}
        environment = {**os.environ, **self.live.stack.variables, **reach}
        command = [sys.executable, "-m", "app.cli.main", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def begin(self, name: str) -> None:
        """Work on a new collection from now on."""
        self.collection = name
        self.rekognition.create_collection(CollectionId=name, Tags={"rekollect:keep-crops": "true"})

    def _fresh(self, version: str) -> dict[str, float]:
        """Tell what a fresh collection of a version answers: the similarity of each picture to the probe."""
        name = f"fresh-{version}"
        self.live.query("UPDATE face_models SET is_default = (version = %s)", version)
        assert self.rekognition.create_collection(CollectionId=name)["FaceModelVersion"] == version
        self.live.query("UPDATE face_models SET is_default = false")
        for external, picture in self.pictures.items():
            self.rekognition.index_faces(CollectionId=name, Image={"Bytes": picture}, ExternalImageId=external)
        return dict(self.similarities(self.search(name)))

    def fill(self, count: int) -> None:
        """Index pictures in turn under so many names; most are strangers to the probe, as in life."""
        names = [*self.pictures, *[STRANGER] * (20 - len(self.pictures))]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: self.index(f"{names[number % len(names)]}-{number}"), range(count)))

    def index(self, external: str) -> None:
        """Index the picture that the name begins with."""
        picture = self.pictures[external.partition("-")[0]]
        answer = self.rekognition.index_faces(
            CollectionId=self.collection, Image={"Bytes": picture}, ExternalImageId=external
        )
        assert len(answer["FaceRecords"]) == 1

    def search(self, name: str | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.rekognition.search_faces_by_image(
            CollectionId=name or self.collection,
            Image={"Bytes": self.pictures[PROBE]},
            FaceMatchThreshold=THRESHOLD,
            MaxFaces=4096,
        )
        return answer

    def similarities(self, answer: dict[str, Any]) -> list[tuple[str, float]]:
        return [(match["Face"]["ExternalImageId"], match["Similarity"]) for match in answer["FaceMatches"]]

    def check(self, answer: dict[str, Any]) -> str:
        """Assert that an answer is what a fresh collection of its version would say; give the version."""
        version: str = answer["FaceModelVersion"]
        found = self.similarities(answer)
        assert found, "an empty answer"
        for external, similarity in found:
            assert abs(similarity - self.expected[version][external.partition("-")[0]]) < ROUNDING, external
        return version

    def check_complete(self, version: str) -> None:
        """Assert that a search finds every face of everybody whom a fresh collection would find."""
        answer = self.search()
        assert self.check(answer) == version
        wanted = {
            external
            for (external,) in self.live.query(
                "SELECT external_image_id FROM faces JOIN collections USING (collection_id) WHERE name = %s",
                self.collection,
            )
            if external.partition("-")[0] in self.expected[version]
        }
        assert Counter(external for external, _ in self.similarities(answer)) == Counter(wanted)

    def start(self) -> None:
        answer = self.live.call("POST", self.path(), {"FaceModelVersion": TWO, "OnFailure": "abort"})
        assert answer.status == 202, answer.body

    def path(self, action: str = "") -> str:
        return f"/v1/collections/{self.collection}/reprocess{action}"

    def status(self) -> Any:
        return self.live.call("GET", self.path()).json

    def _row(self, columns: str) -> tuple[Any, ...]:
        statement = f"SELECT {columns} FROM reprocesses WHERE collection_name = %s"  # noqa: S608 - our own words
        return self.live.query(statement, self.collection)[0]

    def until_done(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> Any:
        """Tend the stack until the reprocess has ended, and show it."""
        deadline = time.monotonic() + seconds
        while not self._row("finished_at IS NOT NULL")[0]:
            assert time.monotonic() < deadline, "the reprocess does not end"
            self.live.stack.tend()
            meanwhile()
            time.sleep(0.1)
        while not self._answers():  # what was killed last is still being started again
            assert time.monotonic() < deadline, "the API does not come back"
            self.live.stack.tend()
            time.sleep(0.1)
        return self.status()

    def _answers(self) -> bool:
        try:
            return self.live.call("GET", "/readyz").status == 200
        except OSError:
            return False

    def kill(self, name: str) -> None:
        """Kill a process of ours."""
        try:
            os.kill(self.live.pids[name], signal.SIGKILL)
        except ProcessLookupError:  # it was not started again yet
            return

    def embedded(self) -> int:
        """Count the embeddings of the second version."""
        ((count,),) = self.live.query(
            "SELECT count(*) FROM face_embeddings JOIN collections USING (collection_id)"
            " WHERE name = %s AND face_embeddings.model = %s",
            *(self.collection, TWO),
        )
        return int(count)

    @property
    def own(self) -> list[str]:
        """Name our own processes."""
        return sorted(name for name in self.live.pids if name not in ("postgres", "valkey"))


@contextmanager
def going_on(*works: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Do works over and over, each in a thread of its own, while the block lasts; give what went wrong."""
    stop, failures = threading.Event(), list[BaseException]()

    def repeat(work: Callable[[], object]) -> None:
        while not stop.is_set():
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - shown by the test itself
                failures.append(error)
                return

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()
