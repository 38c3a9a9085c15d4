"""What `rekollect keys create` takes for limits, and what it refuses before it makes a key."""

import argparse
from datetime import timedelta

import pytest

from app.cli import keys
from app.domain.scopes import Scope
from app.services.access_keys import Terms


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    keys.configure(parser)
    return parser.parse_args(["create", *words])


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        ([], Terms()),
        (["--rate", "0.5"], Terms(rate=0.5)),
        (["--expires", "90s"], Terms(lifetime=timedelta(seconds=90))),
        (["--expires", "15m"], Terms(lifetime=timedelta(minutes=15))),
        (["--expires", "12h"], Terms(lifetime=timedelta(hours=12))),
        (["--expires", "30d", "--session"], Terms(lifetime=timedelta(days=30), with_session_token=True)),
        (["--operations", "Search*", "ListFaces"], Terms((Scope(("Search*", "ListFaces"), ("*",)),))),
        (["--operations", "ManageWebhooks"], Terms((Scope(("ManageWebhooks",), ("*",)),))),
        (["--collections", "team-a-*"], Terms((Scope(("*",), ("team-a-*",)),))),
        (["--operations", "DetectFaces", "--collections", "x"], Terms((Scope(("DetectFaces",), ("x",)),))),
    ],
)
def test_limits_become_terms(words: list[str], terms: Terms) -> None:
    assert keys._terms(parse(*words)) == terms


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--rate", "0"], "--rate: must be a number of calls per second"),
        (["--rate", "-1"], "--rate: must be a number of calls per second"),
        (["--rate", "nan"], "--rate: must be a number of calls per second"),
        (["--rate", "inf"], "--rate: must be a number of calls per second"),
        (["--rate", "many"], "--rate: must be a number of calls per second"),
        (["--expires", "12"], "--expires: must be seconds, minutes, hours or days"),
        (["--expires", "0d"], "--expires: must be seconds, minutes, hours or days"),
        (["--expires", "²d"], "--expires: must be seconds, minutes, hours or days"),
        (["--expires", "999999999d"], "--expires: must be seconds, minutes, hours or days"),
        (["--operations", "SearchFaces*", "Serch*"], "--operations: Serch* is no operation"),
        (["--operations", "searchfaces"], "--operations: searchfaces is no operation"),
    ],
)
def test_senseless_limits_are_refused(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(*words)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err
