"""`rekollect jobs` against the running stack: what people see, what programs get, and what is said when it does not work."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.services.access_keys import NewKey
from tests.live import LiveStack, free_port

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rekollect(live: LiveStack, tmp_path: Path) -> Run:
    """Run the command, with the address and the key of the stack unless told otherwise."""

    def run(*words: str, input_: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {"REKOLLECT_URL": live.url, "REKOLLECT_API_KEY": live.key.api_key, **environment}
        return subprocess.run(
            [sys.executable, "-P", "-m", "app.cli.main", *words],
            env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), **variables},
            cwd=tmp_path,
            input=input_,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def refused(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 1
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    return run.stderr


def test_a_picture_is_searched(rekollect: Run, gallery: str, portraits: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "somebody.jpg").write_bytes(portraits["biden"])
    search = ("jobs", "submit", "SearchFacesByImage", "--collection", gallery, "--image", "somebody.jpg")
    ran = rekollect(*search, "--input", '{"MaxFaces": 1}', "--metadata", "order=7", "--wait", "20", "--json")
    assert ran.returncode == 0, ran.stderr
    job = json.loads(ran.stdout)
    assert (job["Status"], job["Metadata"]) == ("SUCCEEDED", {"order": "7"})
    assert [match["Face"]["ExternalImageId"] for match in job["Result"]["FaceMatches"]] == ["biden"]


def test_a_job_is_submitted_once_listed_and_shown(rekollect: Run) -> None:
    submit = ("jobs", "submit", "DescribeCollection", "--input", "-", "--key", "commands-once", "--json")
    first, second = (rekollect(*submit, input_='{"CollectionId": "none"}') for _ in range(2))
    job_id = json.loads(first.stdout)["JobId"]
    assert json.loads(second.stdout)["JobId"] == job_id
    shown = rekollect("jobs", "show", job_id, "--wait", "20")
    assert shown.returncode == 1  # it failed
    assert "Error       Code ResourceNotFoundException, Message The collection id: none does not exist" in shown.stdout
    listed = rekollect("jobs", "list", "--status", "FAILED", "--operation", "DescribeCollection", "--limit", "1")
    title, row, *more = listed.stdout.splitlines()
    assert title.split() == ["job", "operation", "status", "created", "finished", "error"]
    assert row.split()[1:3] == ["DescribeCollection", "FAILED"]
    again = json.loads(rekollect("jobs", "retry", job_id, "--json").stdout)
    assert again["RetryOf"] == job_id
    if more:
        follow = rekollect(
            "jobs", "list", "--status", "FAILED", "--operation", "DescribeCollection", *more[-1].split()[1:]
        )
        assert follow.returncode == 0


def test_a_job_is_taken_back(rekollect: Run) -> None:
    job = json.loads(rekollect("jobs", "submit", "ListCollections", "--priority", "LOW", "--json").stdout)
    ran = rekollect("jobs", "cancel", job["JobId"], "--wait", "20", "--json")
    assert (ran.returncode, json.loads(ran.stdout)["Done"]) == (0, True)


def test_an_endpoint_lives_its_life(rekollect: Run) -> None:
    url = f"https://127.0.0.1:{free_port()}/commands"
    settings = ("--events", "job.failed", "--header", "X-Team=faces", "--description", "for tests")
    made = rekollect("webhooks", "create", url, *settings)
    assert made.returncode == 0, made.stderr
    assert "Keep the secret now" in made.stdout
    endpoint_id = re.search(r"^EndpointId +(\S+)", made.stdout, re.MULTILINE)[1]  # type: ignore[index]

    def document(*words: str) -> dict[str, Any]:
        ran = rekollect("webhooks", *words, "--json")
        assert ran.returncode == 0, ran.stderr
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    assert url in rekollect("webhooks", "endpoints").stdout
    shown = document("endpoints", endpoint_id)
    assert (shown["HeaderNames"], shown["EventTypes"]) == (["X-Team"], ["job.failed"])
    assert document("update", endpoint_id, "--payload", "REFERENCE")["Payload"] == "REFERENCE"
    assert document("rotate", endpoint_id, "--overlap", "60")["Secret"].startswith("whsec_")
    delivery_id = document("test", endpoint_id)["DeliveryId"]
    assert delivery_id in rekollect("webhooks", "deliveries", "--endpoint", endpoint_id).stdout
    assert "what came of it" in rekollect("webhooks", "deliveries", delivery_id).stdout
    assert document("redeliver", delivery_id)["DeliveryId"] == delivery_id
    assert document(
        "replay", endpoint_id, "--since", f"{date.today() - timedelta(days=1)}T00:00:00Z", "--all"
    ).keys() == {"Deliveries"}
    assert document("disable", endpoint_id)["Status"] == "DISABLED"
    assert "disabled" in refused(rekollect("webhooks", "test", endpoint_id))
    assert document("enable", endpoint_id)["Status"] == "ENABLED"
    assert rekollect("webhooks", "delete", endpoint_id).stdout == "Deleted.\n"
    assert "does not exist" in refused(rekollect("webhooks", "endpoints", endpoint_id))


def test_a_collection_is_told_how_it_is_searched(rekollect: Run, collection: str) -> None:
    ran = rekollect("collections", "set", collection, "--search-mode", "approximate", "--wait", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["Index"]["Status"] == "WAITING", "nobody waits for faces that may never come"
    shown = rekollect("collections", "show", collection)
    assert re.search(r"^SearchMode +approximate$", shown.stdout, re.MULTILINE)
    back = rekollect("collections", "set", collection, "--search-mode", "exact", "--json")
    assert json.loads(back.stdout)["SearchMode"] == "exact"
    assert "does not exist" in refused(rekollect("collections", "show", "no-such-collection"))


def test_the_key_may_come_from_the_folder_of_the_stack(rekollect: Run, live: LiveStack) -> None:
    folder = str(live.stack.directory.path)
    ran = rekollect("jobs", "list", "--json", "--data-dir", folder, REKOLLECT_API_KEY="")
    assert ran.returncode == 0, ran.stderr
    assert "Jobs" in json.loads(ran.stdout)


def test_it_says_what_is_wrong(rekollect: Run, live: LiveStack, stranger: NewKey) -> None:
    assert "nothing answers at http://127.0.0.1:" in refused(
        rekollect("jobs", "list", REKOLLECT_URL=f"http://127.0.0.1:{free_port()}")
    )
    assert "the key was refused" in refused(rekollect("jobs", "list", REKOLLECT_API_KEY="nobody.knows"))
    assert "no API key: set REKOLLECT_API_KEY" in refused(rekollect("jobs", "list", REKOLLECT_API_KEY=""))
    assert "REKOLLECT_URL must be" in refused(rekollect("jobs", "list", REKOLLECT_URL="ftp://example.com"))
    assert "not as Rekollect does" in refused(rekollect("jobs", "list", REKOLLECT_URL=f"{live.url}/docs/style.css?"))
    assert "does not exist (ResourceNotFoundException)" in refused(rekollect("jobs", "show", "nothing"))
    missing = rekollect("jobs", "submit", "DetectFaces", "--image", "missing.jpg")
    assert "cannot read missing.jpg: No such file or directory" in refused(missing)
    mine = json.loads(rekollect("jobs", "submit", "ListCollections", "--json").stdout)["JobId"]
    assert "does not exist" in refused(rekollect("jobs", "show", mine, REKOLLECT_API_KEY=stranger.api_key))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["submit", "Serch"], "invalid choice: 'Serch'"),
        (["submit", "DetectFaces", "--input", "[]"], "must be a JSON object"),
        (["submit", "DetectFaces", "--input", "{"], "is no JSON"),
        (["submit", "DetectFaces", "--metadata", "order"], "order is not NAME=VALUE"),
        (["show", "x", "--wait", "-1"], "must be a whole number of seconds"),
        (["list", "--status", "done"], "invalid choice: 'done'"),
    ],
)
def test_senseless_arguments_are_refused(rekollect: Run, words: list[str], complaint: str) -> None:
    ran = rekollect("jobs", *words)
    assert ran.returncode == 2
    assert complaint in ran.stderr
