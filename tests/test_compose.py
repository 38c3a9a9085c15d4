"""compose.yaml follows the compose specification, and runs nothing with more rights, room or defaults than it needs.

The schema of the specification comes from the package check-jsonschema, which carries it for its own checks.
"""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.config import PREFIX, Settings

_ROOT = Path(__file__).parents[1]
_TEXT = (_ROOT / "compose.yaml").read_text()
_COMPOSE: dict[str, Any] = yaml.safe_load(_TEXT)
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_ONE_SHOT = {"migrate"}
_OURS = {"migrate", "api", "worker", "courier", "beat"}
_ONLY_COMPOSE = {"POSTGRES_PASSWORD", "API_PORT"}
_REQUIRED = {"POSTGRES_PASSWORD", "REKOLLECT_SECRET_KEY"}
_SETTINGS = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}

each_service = pytest.mark.parametrize("name", sorted(_SERVICES))


def _schema() -> dict[str, Any]:
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema: dict[str, Any] = json.loads(vendored.read_text())
    return schema


def _interpolations() -> list[tuple[str, str]]:
    """List (name, what follows it) of every ${NAME…}."""
    return re.findall(r"\$\{(\w+)([^}]*)\}", _TEXT)


def test_it_follows_the_compose_specification() -> None:
    validator = jsonschema.Draft202012Validator(_schema())
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(_COMPOSE)] == []


def test_the_schema_would_notice_a_misspelt_key() -> None:
    broken = {"services": {"api": {"image": "x:1", "read_onyl": True}}}
    assert not jsonschema.Draft202012Validator(_schema()).is_valid(broken)


def test_it_runs_every_process_of_the_design() -> None:
    assert set(_SERVICES) == _OURS | {"postgres", "valkey"}


@each_service
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0


@each_service
def test_a_service_has_limits(name: str) -> None:
    limits = _SERVICES[name]["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}


@each_service
def test_a_service_is_watched_and_started_again_or_runs_once(name: str) -> None:
    service = _SERVICES[name]
    if name in _ONE_SHOT:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
    else:
        assert service["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])


@each_service
def test_logs_cannot_fill_the_disk(name: str) -> None:
    assert "max-size" in _SERVICES[name]["logging"]["options"]


@each_service
def test_an_image_is_pinned_to_a_version(name: str) -> None:
    _, _, tag = _SERVICES[name]["image"].partition(":")
    assert re.match(r"\d+\.\d+\.\d+", tag), "a full version, never `latest` or a major alone"


def test_the_image_of_ours_carries_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (_ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert {_SERVICES[name]["image"] for name in _OURS} == {f"rekollect:{version[1]}"}


def test_the_bases_of_the_image_are_pinned_and_it_does_not_run_as_root() -> None:
    text = (_ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    assert all(re.match(r"python:3\.11\.\d+-slim", base) for base in bases)
    user = re.search(r"^USER (\S+)", text, re.MULTILINE)
    assert user is not None
    assert {_SERVICES[name]["user"] for name in _OURS} == {user[1]}


@pytest.mark.parametrize("name", sorted(_OURS - _ONE_SHOT))
def test_a_process_starts_after_the_schema_is_there(name: str) -> None:
    conditions = {other: needs["condition"] for other, needs in _SERVICES[name]["depends_on"].items()}
    assert conditions == {
        "postgres": "service_healthy",
        "valkey": "service_healthy",
        "migrate": "service_completed_successfully",
    }


def test_every_variable_is_a_setting_or_belongs_to_compose_alone() -> None:
    names = {name for name, _ in _interpolations()}
    assert names <= _SETTINGS | _ONLY_COMPOSE
    assert "${" not in re.sub(r"\$\{\w+[^}]*\}", "", _TEXT)
    for name in _OURS:
        assert set(_SERVICES[name]["environment"]) <= _SETTINGS


def test_secrets_are_demanded_and_none_has_a_default() -> None:
    for name, rest in _interpolations():
        if name in _REQUIRED:
            assert rest.startswith(":?"), f"{name} must be demanded with a message"
        elif "SECRET" in name or "KEY" in name:
            assert rest == ":-", f"{name} may be empty but must have no default"


def test_only_the_api_is_published_and_only_to_this_host() -> None:
    published = {name: service["ports"] for name, service in _SERVICES.items() if "ports" in service}
    assert set(published) == {"api"}
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


def test_the_servers_are_on_a_network_without_a_way_out() -> None:
    assert _COMPOSE["networks"]["data"] == {"internal": True}
    for name in ("postgres", "valkey"):
        assert _SERVICES[name]["networks"] == ["data"]


def test_the_build_sees_only_what_the_image_is_made_of() -> None:
    lines = [line for line in (_ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (_ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == allowed
