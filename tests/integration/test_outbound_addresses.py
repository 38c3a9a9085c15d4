"""Which address the dialer reaches, and what TLS proves. Names lead to 127.0.0.2, which is allowed; 127.0.0.1 is inside."""

import itertools
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.addresses import NO_PUBLIC_ADDRESS, Refused, parse_networks
from tests.integration.conftest import TLS_NAME, Certificates
from tests.scripted import Script, ScriptedServer, answer, hang
from workers.outbound import Dialer, Unreachable

ALLOWED, INSIDE = "127.0.0.2", "127.0.0.1"
LIMIT = 100_000


class Resolver:
    """Answers with the next list of addresses; an exception among them is raised."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self._answers = itertools.cycle(answers)
        self.questions: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.questions.append(host)
        addresses = next(self._answers)
        if isinstance(addresses, Exception):
            raise addresses
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def dialer(resolver: Callable[..., Any], *, allow: str = f"{ALLOWED}/32") -> Dialer:
    return Dialer(parse_networks([allow]), resolver)


def serve(script: Script, **options: Any) -> ScriptedServer:
    return ScriptedServer(script, host=ALLOWED, **options)


def test_the_name_is_in_sni_and_host_and_the_certificate_counts(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with serve(answer(200, b"body"), tls=certificates.server) as server:
        url = f"https://{TLS_NAME}:{server.port}/"
        assert dialer(Resolver([ALLOWED])).get(url, limit_bytes=LIMIT).body == b"body"
        assert server.headers["host"] == f"{TLS_NAME}:{server.port}"
        assert certificates.names_asked == [TLS_NAME]


@pytest.mark.parametrize("host", [f"other.{TLS_NAME}", ALLOWED])
def test_a_certificate_for_another_name_fails(
    host: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with (
        serve(answer(200), tls=certificates.server) as server,
        pytest.raises(Unreachable, match="not trusted") as failed,
    ):
        dialer(Resolver([ALLOWED])).get(f"https://{host}:{server.port}/", limit_bytes=LIMIT)
    assert failed.value.kind == "tls"
    assert server.requests == []


def test_a_certificate_of_an_unknown_authority_fails(certificates: Certificates) -> None:
    with serve(answer(200), tls=certificates.server) as server, pytest.raises(Unreachable, match="not trusted"):
        dialer(Resolver([ALLOWED])).get(f"https://{TLS_NAME}:{server.port}/", limit_bytes=LIMIT)
    assert server.requests == []


def test_a_name_that_changes_its_address_never_leads_inside(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    resolver = Resolver([ALLOWED], [INSIDE])
    dial = dialer(resolver)
    with serve(answer(200), tls=certificates.server) as server, ScriptedServer(hang, port=server.port) as canary:
        url = f"https://{TLS_NAME}:{server.port}/"
        for _ in range(5):
            assert dial.get(url, limit_bytes=LIMIT).address == ALLOWED
            with pytest.raises(Refused, match=NO_PUBLIC_ADDRESS):
                dial.get(url, limit_bytes=LIMIT)
    assert len(resolver.questions) == 10
    assert canary.connections == 0


@pytest.mark.parametrize("addresses", [[ALLOWED, INSIDE], [INSIDE, ALLOWED], ["::ffff:127.0.0.2"], ["fe80::1%1"]])
def test_one_bad_address_among_good_ones_refuses_all(addresses: list[str]) -> None:
    with serve(hang) as server, ScriptedServer(hang, port=server.port) as canary, pytest.raises(Refused):
        dialer(Resolver(addresses)).get(f"https://{TLS_NAME}:{server.port}/", limit_bytes=LIMIT)
    assert server.connections == canary.connections == 0


def test_the_next_address_is_tried(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with serve(answer(200), tls=certificates.server) as server:
        dial = dialer(Resolver(["127.0.0.3", ALLOWED]), allow="127.0.0.2/31")
        assert dial.get(f"https://{TLS_NAME}:{server.port}/", limit_bytes=LIMIT).address == ALLOWED


def test_a_connection_that_ends_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: (INSIDE, 1))
    with serve(hang) as server, pytest.raises(Refused, match=NO_PUBLIC_ADDRESS):
        dialer(Resolver([])).get(server.url, limit_bytes=LIMIT)
    assert server.requests == []


@pytest.mark.parametrize("unknown", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label"), []])
def test_an_unknown_name_reads_like_a_denied_one(unknown: Any) -> None:
    with pytest.raises(Unreachable, match=NO_PUBLIC_ADDRESS) as unreachable:
        dialer(Resolver(unknown)).get("https://unknown.test/", limit_bytes=LIMIT)
    assert unreachable.value.kind == "dns"


def test_localhost_is_not_asked_for() -> None:
    with ScriptedServer(answer(200)) as server:
        dial = dialer(Resolver(OSError("asked")), allow="127.0.0.1")
        assert dial.get(f"http://localhost:{server.port}/", limit_bytes=LIMIT).address == INSIDE


def test_the_deadline_covers_the_resolver() -> None:
    start = time.monotonic()
    with pytest.raises(Unreachable) as unreachable:
        dialer(lambda *_, **__: time.sleep(1.5)).get("https://slow.test/", limit_bytes=LIMIT, deadline_seconds=0.5)
    assert unreachable.value.kind == "timeout"
    assert time.monotonic() - start < 1.4
