"""Rekollect's own Postgres and Redis are never dialled, whatever the operator allows."""

import ipaddress
import socket
from typing import Any

import pytest
from celery import Celery

from app.broker import server
from app.config import Settings
from app.db.session import servers
from app.domain.addresses import NO_PUBLIC_ADDRESS, Refused, is_same_host, parse_networks
from tests.factories import SECRET_KEY
from tests.scripted import ScriptedServer, answer
from workers.outbound import Dialer, Unreachable
from workers.runtime import Runtime

LOOPBACK = parse_networks(["127.0.0.0/8", "::/0"])


def resolver(**names: str) -> Any:
    """Make a resolver that knows some names, by their first label."""

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        if host.partition(".")[0] not in names:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names[host.partition(".")[0]], port))]

    return resolve


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "[::ffff:127.0.0.1]", "[::1]"])
@pytest.mark.parametrize("own", ["127.0.0.1", "localhost", "::1"])
def test_our_own_port_on_this_machine_is_refused_by_every_name_of_it(own: str, host: str) -> None:
    with ScriptedServer(answer(200)) as canary:
        dialer = Dialer(LOOPBACK, own_servers=[(own, canary.port)])
        with pytest.raises(Refused, match=NO_PUBLIC_ADDRESS):
            dialer.post(f"http://{host}:{canary.port}/", b"", {})
    assert canary.connections == 0


def test_the_other_ports_of_the_machine_stay_what_the_operator_allowed() -> None:
    with ScriptedServer(answer(200)) as receiver:
        dialer = Dialer(LOOPBACK, own_servers=[("127.0.0.1", receiver.port + 1)])
        assert dialer.post(receiver.url, b"", {}).status == 200


def test_our_own_server_is_refused_by_another_name_of_it() -> None:
    with ScriptedServer(answer(200)) as canary:
        names = resolver(postgres="127.0.0.1", innocent="127.0.0.1")
        dialer = Dialer(LOOPBACK, names, own_servers=[("postgres", canary.port)])
        with pytest.raises(Refused, match=NO_PUBLIC_ADDRESS):
            dialer.get(f"https://innocent.example.com:{canary.port}/", limit_bytes=10)
    assert canary.connections == 0


def test_where_our_own_server_is_not_found_its_port_is_not_dialled() -> None:
    with ScriptedServer(answer(200)) as canary:
        dialer = Dialer(LOOPBACK, resolver(innocent="127.0.0.1"), own_servers=[("postgres", canary.port)])
        with pytest.raises(Unreachable, match=NO_PUBLIC_ADDRESS):
            dialer.get(f"https://innocent.example.com:{canary.port}/", limit_bytes=10)
    assert canary.connections == 0


def test_the_runtime_knows_our_servers(celery: Celery) -> None:
    with ScriptedServer(answer(200)) as canary:
        address = f"127.0.0.1:{canary.port}"
        for urls in (
            {"database_url": f"postgresql://user:secret@{address}/rekollect", "redis_url": "redis://10.0.0.1"},
            {"database_url": "postgresql://user@10.0.0.1/rekollect", "redis_url": f"redis://:secret@{address}/0"},
        ):
            settings = Settings(**urls, secret_key=SECRET_KEY, dial_allow=LOOPBACK)  # type: ignore[arg-type]
            with pytest.raises(Refused, match=NO_PUBLIC_ADDRESS):
                Runtime(settings, celery).dialer.post(f"http://{address}/", b"", {})
    assert canary.connections == 0


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://user:secret@db.example.com/rekollect", [("db.example.com", 5432)]),
        ("postgresql://user:secret@db.example.com:6000/rekollect", [("db.example.com", 6000)]),
        ("postgresql://[::1]:6000/rekollect", [("::1", 6000)]),
        ("postgresql://one:1,two:2/rekollect", [("one", 1), ("two", 2)]),
        ("postgresql://one,two/rekollect?port=7", [("one", 7), ("two", 7)]),
        ("postgresql://user@/rekollect?host=/run/postgres", []),
        ("postgresql://%2Frun%2Fpostgres/rekollect", []),
    ],
)
def test_the_servers_of_a_database_url_are_found(url: str, found: list[tuple[str, int]]) -> None:
    assert servers(url) == found


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://cache", ("cache", 6379)),
        ("rediss://user:secret@cache:7000/1", ("cache", 7000)),
        ("redis://", ("localhost", 6379)),
        ("redis+socket:///run/valkey.sock", None),
    ],
)
def test_the_server_of_a_redis_url_is_found(url: str, found: tuple[str, int] | None) -> None:
    assert server(url) == found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("127.0.0.1", "::1", True),
        ("0.0.0.0", "127.0.0.5", True),
        ("::", "127.0.0.1", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("2606:4700::1", "2606:4700::1", True),
        ("127.0.0.1", "10.0.0.1", False),
    ],
)
def test_addresses_of_one_machine_are_known(one: str, other: str, same: bool) -> None:
    assert is_same_host(ipaddress.ip_address(one), ipaddress.ip_address(other)) is same
