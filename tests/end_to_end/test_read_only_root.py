"""The processes of compose.yaml need nothing to write to but what it gives them: here their root is read-only for real.

The environment is the Dockerfile's, the one writable folder compose.yaml's tmpfs; a mount namespace of the kernel does what a
container's runtime would.
"""

import base64
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.assets import models_folder
from app.config import Settings
from app.db import migrate
from app.db.session import Database
from app.encryption import Cipher
from app.local.postgres import LocalPostgres
from app.local.valkey import LocalValkey
from app.services import access_keys
from tests.factories import SECRET_KEY
from tests.fresh import fresh_database
from tests.live import free_port
from tests.patience import wait_until

pytestmark = pytest.mark.models

_ROOT = Path(__file__).parents[2]
_SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((_ROOT / "compose.yaml").read_text())["services"]
_PROCESSES = ("api", "worker", "courier", "beat")

#: Makes everything that is mounted read-only, puts the one folder into its place, and becomes the command. What cannot be
#: changed here (/proc, /sys) is nobody's to write to anyway.
_SCRIPT = """
mount --make-rprivate /
for place in $(awk '{print $2}' /proc/self/mounts); do
    case $place in /proc*|/sys*|/dev*) ;; *) mount -o remount,ro,bind "$place" 2>/dev/null ;; esac
done
mount -t tmpfs none /run && mkdir -m 1777 "$WRITABLE" && cd / && ! touch /tmp/writable 2>/dev/null && exec "$@"
"""


def _environment() -> dict[str, str]:
    """Read what the Dockerfile sets."""
    lines = re.search(r"^ENV (.+?[^\\])$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)
    assert lines is not None
    return dict(re.findall(r"(\w+)=(\S+)", lines[1]))


def _writable() -> str:
    """Name the one folder that compose.yaml lets our processes write to."""
    (place,) = {tuple(_SERVICES[name]["tmpfs"]) for name in _PROCESSES}
    return str(place[0]).partition(":")[0]


def _can_unshare() -> bool:
    command = ["unshare", "--mount", "true"]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def stack(
    postgres: LocalPostgres, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, dict[str, subprocess.Popen[bytes]]]]:
    """Start the four processes; give the API's address, a key, and the processes."""
    if not _can_unshare():
        pytest.skip("only root can make a mount namespace here")
    valkey, logs = LocalValkey(tmp_path_factory.mktemp("valkey")), tmp_path_factory.mktemp("logs")
    with fresh_database(postgres.url) as url, ExitStack() as ends:
        migrate.upgrade(url)
        valkey.start()
        ends.callback(valkey.stop)
        key = _make_key(url)
        own = {name: value for name, value in _environment().items() if name != "PATH"}
        variables = {
            "REKOLLECT_DATABASE_URL": url,
            "REKOLLECT_REDIS_URL": valkey.url,
            "REKOLLECT_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
            "REKOLLECT_MODELS_DIR": str(models_folder(settings)),
            "WRITABLE": _writable(),
        }
        environment = {**{n: v for n, v in os.environ.items() if not n.startswith("REKOLLECT_")}, **own, **variables}
        port, processes = free_port(), {}
        for name in _PROCESSES:
            log = ends.enter_context((logs / name).open("wb"))
            words = [name, "--port", str(port)] if name == "api" else [name]
            command = [
                "unshare",
                "--mount",
                "sh",
                "-c",
                _SCRIPT,
                "sh",
                sys.executable,
                "-P",
                "-m",
                "app.cli.main",
                *words,
            ]
            child = processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            ends.callback(child.wait)
            ends.callback(child.terminate)
        yield f"http://127.0.0.1:{port}", key, processes
        ends.close()
        said = "".join((logs / name).read_text() for name in _PROCESSES)
        assert "Read-only file system" not in said


def _make_key(url: str) -> str:
    database = Database(url, pool_size=1)
    with database.transaction() as connection:
        key = access_keys.create(connection, Cipher(SECRET_KEY)).api_key
    database.close()
    return key


def _ask(url: str, key: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=content, headers=headers)
    with urllib.request.urlopen(request, timeout=40) as answer:
        return json.load(answer)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False


def test_a_picture_is_looked_at_where_the_root_is_read_only(
    stack: tuple[str, str, dict[str, subprocess.Popen[bytes]]], portraits: dict[str, bytes]
) -> None:
    url, key, processes = stack
    wait_until(lambda: _is_ready(url), 40, what="the api is ready")
    image = {"Bytes": base64.b64encode(portraits["obama"]).decode()}
    job = _ask(f"{url}/v1/jobs", key, {"Operation": "DetectFaces", "Input": {"Image": image}})
    wait_until(lambda: _ask(f"{url}{job['Links']['Self']}?wait=20", key)["Done"], 60, what="the job ends")
    shown = _ask(f"{url}{job['Links']['Self']}", key)
    assert (shown["Status"], len(shown["Result"]["FaceDetails"])) == ("SUCCEEDED", 1)
    assert [name for name, child in processes.items() if child.poll() is not None] == []


def test_every_folder_that_the_image_writes_to_is_in_the_one_that_is_writable() -> None:
    environment = _environment()
    for name in ("HOME", "TMPDIR", "REKOLLECT_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(_writable()), name
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
