"""The unmodified AWS CLI and AWS SDK for JavaScript; `make test-clients` installs both and runs this."""

import json
import os
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from tests.clients.life import Refused, live_a_life
from tests.live import LiveStack

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parent.parent.parent
AWS = ROOT / ".venv-clients" / "bin" / "aws"
JAVASCRIPT = Path(__file__).parent / "javascript"


def environment(live: LiveStack) -> dict[str, str]:
    """What a user sets: where the service is, and the credentials file that `rekollect up` keeps."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REKOLLECT_"))}
    return plain | {
        "AWS_ENDPOINT_URL_REKOGNITION": live.url,
        "AWS_SHARED_CREDENTIALS_FILE": str(live.stack.directory.credentials),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }


class Cli:
    """Calls by the command line; pictures are files that it reads itself."""

    def __init__(self, live: LiveStack, folder: Path) -> None:
        self._environment = environment(live)
        self._folder = folder

    def call(self, operation: str, page_size: int | None = None, **parameters: Any) -> dict[str, Any]:
        words = [str(AWS), "rekognition", xform_name(operation, "-"), "--output", "json"]
        if page_size is not None:
            words += ["--page-size", str(page_size)]
        for name, value in parameters.items():
            words += self._option(name, value)
        done = subprocess.run(words, env=self._environment, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return dict(json.loads(done.stdout or "{}"))
        found = re.search(r"An error occurred \((\w+)\) when calling the (\w+) operation: (.*)", done.stderr)
        assert found, done.stderr
        assert (done.returncode, found[2]) == (255, operation)
        raise Refused(found[1], found[3])

    def _option(self, name: str, value: Any) -> list[str]:
        option = "--" + xform_name(name, "-")
        if isinstance(value, dict) and isinstance(value.get("Bytes"), bytes):
            path = self._folder / f"{uuid.uuid4()}.jpg"
            path.write_bytes(value["Bytes"])
            return [option + "-bytes", f"fileb://{path}"]
        return [option, value if isinstance(value, str) else json.dumps(value)]


def test_a_collection_lives_its_life_with_the_aws_cli(
    live: LiveStack, portraits: dict[str, bytes], tmp_path: Path
) -> None:
    assert AWS.exists(), "the AWS CLI is not installed: run `make test-clients`"
    live_a_life(Cli(live, tmp_path), f"cli-{uuid.uuid4()}", portraits)


def test_a_collection_lives_its_life_with_the_javascript_sdk(
    live: LiveStack, portraits: dict[str, bytes], tmp_path: Path
) -> None:
    assert (JAVASCRIPT / "node_modules").exists(), "the JavaScript SDK is not installed: run `make test-clients`"
    for name, content in portraits.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    command = ["node", str(JAVASCRIPT / "life.mjs"), str(tmp_path), f"javascript-{uuid.uuid4()}"]
    done = subprocess.run(command, env=environment(live), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "lived"
