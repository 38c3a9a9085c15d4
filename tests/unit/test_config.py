"""Settings: every variable is read, and every wrong one is named."""

import base64
import dataclasses
import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.config import PREFIX, Settings, SettingsError, default_cache_dir

KEY = base64.b64encode(bytes(range(32))).decode()

#: One good value for each variable, and what it means.
GOOD: dict[str, tuple[str, Any]] = {
    "DATABASE_URL": ("postgresql://a:b@host/db", "postgresql://a:b@host/db"),
    "REDIS_URL": ("redis://host:6379/0", "redis://host:6379/0"),
    "SECRET_KEY": (KEY, bytes(range(32))),
    "BOOTSTRAP_ACCESS_KEY_ID": ("AKIA", "AKIA"),
    "BOOTSTRAP_SECRET_ACCESS_KEY": ("secret", "secret"),
    "REGION": ("eu-central-1, us-east-1", ("eu-central-1", "us-east-1")),
    "CLOCK_SKEW_SECONDS": ("60", 60),
    "WAIT_SECONDS": ("10", 10),
    "MAX_WAITERS": ("7", 7),
    "API_PROCESSES": ("2", 2),
    "API_THREADS": ("8", 8),
    "WORKER_THREADS": ("4", 4),
    "COURIER_THREADS": ("5", 5),
    "RATE_LIMIT": ("12.5", 12.5),
    "MAX_QUEUED_JOBS": ("5", 5),
    "MAX_RUNNING_JOBS": ("7", 7),
    "MAX_UPLOAD_MEGABYTES": ("64", 64),
    "SHED_AFTER_SECONDS": ("20", 20),
    "RUN_TIMEOUT_SECONDS": ("30", 30),
    "JOB_RETENTION_DAYS": ("1", 1),
    "AUDIT_RETENTION_DAYS": ("90", 90),
    "KEEP_CROPS": ("True", True),
    "ROLLBACK_DAYS": ("3", 3),
    "OWN_BUCKET_FACES": ("50000", 50_000),
    "INDEX_MEGABYTES": ("256", 256),
    "SEGMENT_FACES": ("0", 0),
    "SEGMENT_MEGABYTES": ("512", 512),
    "SEGMENT_DIR": ("/mnt/segments", Path("/mnt/segments")),
    "MODELS_DIR": ("~/models", Path.home() / "models"),
    "CACHE_DIR": ("/var/cache/rekollect", Path("/var/cache/rekollect")),
    "EXECUTION_PROVIDER": ("CUDAExecutionProvider", "CUDAExecutionProvider"),
    "S3_ENDPOINT_URL": ("http://127.0.0.1:8333", "http://127.0.0.1:8333"),
    "S3_REGION": ("eu-central-1", "eu-central-1"),
    "S3_ACCESS_KEY_ID": ("key", "key"),
    "S3_SECRET_ACCESS_KEY": ("secret", "secret"),
    "DIAL_ALLOW": (
        "127.0.0.0/8 10.0.0.1",
        (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.1/32")),
    ),
    "URL": ("https://faces.example.com", "https://faces.example.com"),
    "API_KEY": ("REKO.secret", "REKO.secret"),
    "LOG_LEVEL": ("warning", "WARNING"),
    "FAILPOINTS": ("after_claim, in_sweep:3", (("after_claim", 1), ("in_sweep", 3))),
    "FAILPOINTS_DIR": ("deaths", Path("deaths")),
}
WRONG = {
    "SECRET_KEY": ["short", KEY[:-4], KEY + "AAAA", "ä" * 44],
    "WAIT_SECONDS": ["0", "-1", "1.5", "ten", "²"],
    "WORKER_THREADS": ["none"],
    "SEGMENT_FACES": ["-1", "many"],
    "SEGMENT_MEGABYTES": ["0"],
    "DIAL_ALLOW": ["example.com", "127.0.0.1/8"],
    "KEEP_CROPS": ["yes", "1"],
    "URL": ["faces.example.com", "ftp://faces.example.com"],
    "LOG_LEVEL": ["loud"],
    "FAILPOINTS": ["nowhere", "after_claim:often"],
}


def read(**variables: str) -> Settings:
    return Settings.from_environment({PREFIX + name: value for name, value in variables.items()})


def test_every_setting_has_an_example_here() -> None:
    assert {field.name.upper() for field in dataclasses.fields(Settings)} == set(GOOD)


@pytest.mark.parametrize("name", GOOD)
def test_each_variable_is_read(name: str) -> None:
    text, value = GOOD[name]
    assert getattr(read(**{name: text}), name.lower()) == value
    assert read(**{name: text}) != read(), "the example is not the default"


@pytest.mark.parametrize("name", GOOD)
def test_an_empty_variable_is_an_absent_one(name: str) -> None:
    assert read(**{name: ""}) == read() == Settings()


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_variable_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name} "):
        read(**{name: text})


def test_several_wrong_variables_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        read(**{name: texts[0] for name, texts in WRONG.items()})
    assert {part.split()[0] for part in str(raised.value).split("; ")} == {PREFIX + name for name in WRONG}


def test_a_wrong_secret_is_not_repeated_in_the_message() -> None:
    with pytest.raises(SettingsError) as raised:
        read(SECRET_KEY="almost a secret")
    assert "almost" not in str(raised.value)


def test_what_is_required_and_missing_is_named() -> None:
    settings = read(DATABASE_URL="postgresql://host/db")
    settings.require("database_url")
    with pytest.raises(SettingsError, match=r"^not set: REKOLLECT_REDIS_URL, REKOLLECT_SECRET_KEY$"):
        settings.require("database_url", "redis_url", "secret_key")


def test_there_is_no_default_secret() -> None:
    settings = Settings()
    assert [settings.secret_key, settings.bootstrap_secret_access_key, settings.s3_secret_access_key] == [b"", "", ""]


def test_secrets_are_not_in_the_text_of_the_settings() -> None:
    settings = read(**{name: text for name, (text, _) in GOOD.items()})
    shown = repr(settings)
    assert "a:b@host" not in shown
    assert "'secret'" not in shown
    assert repr(settings.secret_key) not in shown
    assert "CUDAExecutionProvider" in shown


def test_values_that_follow_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert read(RUN_TIMEOUT_SECONDS="90").run_timeout == timedelta(seconds=90)
    assert read(CACHE_DIR="/here").cache == Path("/here")
    assert read().cache == default_cache_dir() == Path("/elsewhere/rekollect")
