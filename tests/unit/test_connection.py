"""A client that hung up is noticed without reading what it may still say."""

import socket
from collections.abc import Iterator

import pytest

from app.api.connection import hung_up

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_client_that_waits_is_there(pair: Pair) -> None:
    assert not hung_up({"gunicorn.socket": pair[0]})


def test_a_client_that_closed_is_gone(pair: Pair) -> None:
    pair[1].close()
    assert hung_up({"gunicorn.socket": pair[0]})


def test_what_a_client_sent_ahead_is_left_for_the_next_request(pair: Pair) -> None:
    pair[1].sendall(b"GET")
    assert not hung_up({"gunicorn.socket": pair[0]})
    assert pair[0].recv(10) == b"GET"


def test_a_broken_connection_is_gone(pair: Pair) -> None:
    pair[0].close()
    assert hung_up({"gunicorn.socket": pair[0]})


@pytest.mark.parametrize("environ", [{}, {"gunicorn.socket": None}])
def test_without_a_socket_the_client_counts_as_there(environ: dict[str, object]) -> None:
    assert not hung_up(environ)
