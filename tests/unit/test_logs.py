"""Logs: one line of JSON for each record, whatever is in it."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import logs
from app.logs import JsonFormatter


def formatted(event: str, *args: object, exc_info: Any = None, **fields: object) -> str:
    record = logging.makeLogRecord({"name": "app.test", "levelname": "INFO", "levelno": logging.INFO, "msg": event})
    record.args = args
    record.exc_info = exc_info
    vars(record).update(fields)
    return JsonFormatter().format(record)


def test_a_record_is_its_event_and_its_fields() -> None:
    line = json.loads(formatted("job_finished", job_id="1", milliseconds=12, outcome=None))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "app.test",
        "event": "job_finished",
        "job_id": "1",
        "milliseconds": 12,
        "outcome": None,
    }


def test_arguments_of_other_peoples_messages_are_filled_in() -> None:
    assert json.loads(formatted("connected to %s", "host"))["event"] == "connected to host"


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.floats() | st.binary() | st.none(), max_size=3))
def test_every_record_is_one_line_of_json(event: str, fields: dict[str, object]) -> None:
    line = formatted(event.replace("%", ""), data=fields, value=object())
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == event.replace("%", "")


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        line = formatted("job_crashed", exc_info=sys.exc_info())
    assert len(line.splitlines()) == 1
    assert "ValueError: two\nlines" in json.loads(line)["traceback"]


def test_the_row_that_postgres_quotes_is_cut_out_of_a_traceback() -> None:
    said = (
        "new row violates check constraint\nDETAIL:  Failing row contains (1, \\xffd8,\ns3cr3t).\n"
        "[SQL: INSERT INTO blobs]\n(Background on this error at: https://sqlalche.me)"
    )
    for message in (said, "x\nDETAIL:  Key (token)=(s3cr3t) already exists.\nCONTEXT:  y", "x\nDETAIL:  s3cr3t"):
        try:
            raise ValueError(message)
        except ValueError:
            traceback = json.loads(formatted("job_crashed", exc_info=sys.exc_info()))["traceback"]
        assert "s3cr3t" not in traceback
        assert "DETAIL: left out" in traceback
        for part in ("[SQL: INSERT INTO blobs]", "(Background on", "CONTEXT:  y"):
            assert (part in traceback) == (part in message)


@pytest.fixture
def untouched() -> Iterator[None]:
    """Put the root logger back as pytest set it up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("untouched")
def test_all_loggers_of_a_process_speak_json_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    logging.getLogger("anybody").info("hello", extra={"job_id": "1"})
    logging.getLogger("anybody").debug("not shown")
    logging.getLogger("kombu").info("not shown either")
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert json.loads(line) | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "anybody",
        "event": "hello",
        "job_id": "1",
    }
    assert captured.out == ""
