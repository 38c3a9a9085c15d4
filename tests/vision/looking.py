"""A process that looks at hostile pictures and says in lines of JSON what each cost: `python -m tests.vision.looking`."""

import json
import resource
import sys
import time
from pathlib import Path

from app.config import Settings
from app.domain.face_models import NEWEST
from app.errors import ServiceError
from tests.vision.hostile import BOMBS
from workers.vision.engine import FaceEngine

#: More than any picture may take; beyond it the process ends, and the tests fail.
_MOST_BYTES = 6 * 1024**3


def megabytes(name: str) -> int:
    """Read how much memory is resident, or was at its height since that was set back."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) // 1024


def look(engine: FaceEngine, image: bytes) -> dict[str, object]:
    Path("/proc/self/clear_refs").write_text("5")  # sets the height back
    memory, began = megabytes("VmRSS"), time.process_time()
    try:
        outcome = f"{len(engine.analyze(image))} faces"
    except ServiceError as error:
        outcome = error.code
    seconds = time.process_time() - began
    return {"outcome": outcome, "seconds": seconds, "megabytes": megabytes("VmHWM") - memory, "bytes": len(image)}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    engine = FaceEngine.load(Settings.from_environment(), NEWEST)
    for name, make in BOMBS.items():
        sys.stdout.write(json.dumps({"name": name, **look(engine, make())}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
