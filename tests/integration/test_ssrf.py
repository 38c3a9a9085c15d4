"""Nothing that a caller writes as a URL, answers as DNS or sends as a redirect leads a connection to loopback.

Every hostile URL goes both ways, as a webhook and as a picture, against a canary that listens on 127.0.0.1 and ::1: no
connection may reach it, and every one is refused with a typed error. Which forms are refused for which reason is in the unit
tests of addresses; here the sockets are real.
"""

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.domain.addresses import NO_PUBLIC_ADDRESS, parse_networks
from app.domain.images import UrlImage
from app.domain.signatures import new_secret
from app.errors import InvalidImageUrl
from tests.scripted import ScriptedServer, answer
from workers import webhooks
from workers.fetch import Fetcher
from workers.outbound import Dialer
from workers.webhooks import Delivery

Resolver = Callable[..., list[tuple[Any, ...]]]
Way = Callable[[Dialer, str], str]

#: `:P` stands for the canary's port.
CORPUS = """
https://127.0.0.1:P/ http://127.0.0.1:P/ https://127.0.0.2:P/ https://127.255.255.254:P/ https://127.1:P/ https://127.0.1:P/
https://2130706433:P/ http://2130706433:P/ https://017700000001:P/ https://0x7f000001:P/ https://0x7f.1:P/ https://0x7F.0.0.1:P/
https://0177.0.0.1:P/ https://0177.0.0.01:P/ https://127.0.0.01:P/ https://127.00.00.01:P/ https://0x7f.0x0.0x0.0x1:P/
https://127.0x0.1:P/ https://00000177.0.0.1:P/ https://4294967297:P/ https://127.0.0.1.:P/ https://127.0.0.1..:P/
https://0:P/ https://0.0.0.0:P/ http://0/ https://0x0:P/ https://00.0.0.0:P/ https://0.1.2.3:P/ https://0000:P/
https://localhost:P/ http://localhost:P/ https://LOCALHOST:P/ https://localhost.:P/ https://ｌｏｃａｌｈｏｓｔ:P/
https://１２７.0.0.1:P/ https://１２７。０。０。１:P/ https://127。0。0。1:P/ https://127．0．0．1:P/ https://127｡0｡0｡1:P/
https://①②⑦.0.0.1:P/ https://𝟏𝟐𝟕.𝟎.𝟎.𝟏:P/ https://١٢٧.0.0.1:P/
https://[::1]:P/ http://[::1]:P/ https://[0:0:0:0:0:0:0:1]:P/ https://[0000::0001]:P/ https://[::]:P/ https://[::0]:P/
https://[::127.0.0.1]:P/ https://[::7f00:1]:P/ https://[::ffff:127.0.0.1]:P/ https://[::ffff:7f00:1]:P/
https://[0:0:0:0:0:ffff:127.0.0.1]:P/ https://[::ffff:0:127.0.0.1]:P/ https://[::ffff:0:0]:P/
https://[64:ff9b::127.0.0.1]:P/ https://[64:ff9b::7f00:1]:P/ https://[64:ff9b:1::127.0.0.1]:P/ https://[64:ff9b::a9fe:a9fe]/
https://[2002:7f00:1::]:P/ https://[2002:7f00:0001::1]:P/ https://[2002:a9fe:a9fe::]/ https://[2001:0:7f00:1::]:P/
https://[2001:0:4136:e378:8000:63bf:80ff:fffe]:P/ https://[fe80::1%25lo]:P/ https://[fe80::1%lo]:P/ https://[::1%25lo]:P/
https://[::1%251]:P/ https://[fe80::1]:P/ https://[fec0::1]:P/ https://[fc00::1]/ https://[fd00:ec2::254]/ https://[ff02::1]/
https://[100::1]/ https://[2001:db8::1]/ https://[3fff::1]/ https://[5f00::1]/ https://[::1:P/ https://::1/ https://[v1.x]:P/
https://user@127.0.0.1:P/ https://user:pass@127.0.0.1:P/ https://example.com@127.0.0.1:P/ https://example.com:443@127.0.0.1:P/
https://127.0.0.1:P@example.com/ https://@127.0.0.1:P/ https://example.com%40127.0.0.1:P/ https://example.com%2f@127.0.0.1:P/
https://example.com\\@127.0.0.1:P/ https://127.0.0.1:P\\@example.com/ https://example.com#@127.0.0.1:P/
https://127.0.0.1:P#@example.com/ https://127.0.0.1:P%23@example.com/ https://127.0.0.1%00.example.com:P/
https://127.0.0.1%20.example.com:P/ https://%31%32%37.0.0.1:P/ https://%6c%6f%63%61%6c%68%6f%73%74:P/
https://example.com:22/ https://example.com:25/ https://example.com:0/ https://example.com:1023/ https://127.0.0.1:22/
https://127.0.0.1:25/ https://127.0.0.1:5432/ https://127.0.0.1:6379/ https://[::1]:5432/ https://localhost:6379/
https://169.254.169.254/latest/meta-data/ http://169.254.169.254/latest/meta-data/ https://[::ffff:169.254.169.254]/
https://0xa9fea9fe/ https://2852039166/ https://0251.0376.0251.0376/ https://169.254.43518/ https://100.100.100.200/
https://168.63.129.16/ https://192.0.0.192/ https://[fd00:ec2::23]/ https://10.0.0.1/ https://172.16.0.1/ https://192.168.0.1/
https://100.64.0.1/ https://192.0.2.1/ https://198.18.0.1/ https://198.51.100.1/ https://203.0.113.1/ https://192.88.99.1/
https://224.0.0.1/ https://239.255.255.250/ https://240.0.0.1/ https://255.255.255.255/ https://localtest.me:P/
https://127.0.0.1.nip.io:P/ https://www.example.com:P/ https://xn--bcher-kva.example:P/ https://metadata.google.internal/
ftp://127.0.0.1:P/ gopher://127.0.0.1:P/_x file:///etc/passwd dict://127.0.0.1:P/ ldap://127.0.0.1:P/ //127.0.0.1:P/ 127.0.0.1:P
https:127.0.0.1:P/ https:/127.0.0.1:P/ https:///127.0.0.1:P/ https:\\\\127.0.0.1:P\\ httpſ://127.0.0.1:P/ unix:/run/postgres
"""
WITH_BREAKS = [
    "https://127.0.0.1:P/\r\nHost: example.com",
    "https://example.com\t.127.0.0.1:P/",
    "https://exam\u200bple.com@127.0.0.1:P/",
    "https://127.0.0.1\u00ad:P/",
    "https://127.0.0.1:P\x00/",
    " https://127.0.0.1:P/",
    "https://127\n.0.0.1:P/",
]

#: What a hostile name server may answer, each a way to loopback or to something else inside.
HOSTILE_ANSWERS = """
127.0.0.1 127.0.0.2 0.0.0.0 10.0.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 168.63.129.16 224.0.0.1 240.0.0.1
::1 :: ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::7f00:1 2002:7f00:1:: 2001:0:7f00:1:: fe80::1
fe80::1%1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 100::1 2001:db8::1 5f00::1
"""


def urls() -> list[str]:
    return [*CORPUS.split(), *WITH_BREAKS]


def as_webhook(dialer: Dialer, url: str) -> str:
    """Post a webhook and give the kind of its failure."""
    outcome = webhooks.attempt(dialer, Delivery("evt_1", url, (new_secret(),), b"{}"), 1_800_000_000)
    assert not outcome.succeeded
    assert outcome.kind is not None
    return outcome.kind


def as_picture(dialer: Dialer, url: str) -> str:
    """Fetch a picture and give the code of its failure."""
    with pytest.raises(InvalidImageUrl) as failed:
        Fetcher(dialer, None).fetch(UrlImage(url), read_blob=lambda _: b"")  # type: ignore[arg-type]  # no S3 here
    assert not (failed.value.retryable and NO_PUBLIC_ADDRESS in failed.value.message)
    return failed.value.code


WAYS = pytest.mark.parametrize(
    ("way", "refused"), [(as_webhook, "refused"), (as_picture, "InvalidParameterException")], ids=["webhook", "picture"]
)


class Canary:
    """Listens on both loopback addresses, with one port."""

    def __init__(self, *listeners: ScriptedServer) -> None:
        self._listeners = listeners
        self.port = listeners[0].port

    @property
    def connections(self) -> int:
        return sum(listener.connections for listener in self._listeners)


@pytest.fixture
def canary() -> Iterator[Canary]:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(ScriptedServer(answer(200, b"inside"), reads=False))
        listeners = [first]
        if socket.has_ipv6:
            with contextlib.suppress(OSError):  # a machine without IPv6
                listeners.append(stack.enter_context(_six(first.port)))
        yield Canary(*listeners)


def _six(port: int) -> ScriptedServer:
    return ScriptedServer(answer(200, b"inside"), host="::1", port=port, reads=False)


def answers(*addresses: str) -> Resolver:
    """Make a resolver that gives these addresses for every name."""

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


def test_the_corpus_is_large() -> None:
    assert len(set(urls())) >= 150


@WAYS
def test_no_url_reaches_the_canary(canary: Canary, way: Way, refused: str) -> None:
    inside = Dialer((), answers("127.0.0.1"))  # every name leads to it
    for url in urls():
        assert (url, way(inside, url.replace(":P", f":{canary.port}"))) == (url, refused)
    assert canary.connections == 0


@WAYS
def test_no_answer_of_a_name_server_reaches_the_canary(canary: Canary, way: Way, refused: str) -> None:
    for address in HOSTILE_ANSWERS.split():
        for addresses in ([address], ["8.8.8.8", address], [address, "2606:4700::1111"]):
            assert (address, way(Dialer((), answers(*addresses)), f"https://name.test:{canary.port}/")) == (
                address,
                refused,
            )
    assert canary.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@WAYS
def test_no_redirect_reaches_the_canary(canary: Canary, way: Way, refused: str, status: int) -> None:
    location = f"http://127.0.0.1:{canary.port}/"
    for header in (location, f"//127.0.0.1:{canary.port}/", f"https://localhost:{canary.port}/"):
        with ScriptedServer(answer(status, Location=header, Refresh=f"0;url={header}"), host="127.0.0.2") as outside:
            dialer = Dialer(parse_networks(["127.0.0.2"]))
            assert way(dialer, outside.url) in ("status", refused)
            assert outside.connections == 1
    assert canary.connections == 0


@WAYS
def test_a_name_that_changes_its_address_a_thousand_times_never_reaches_the_canary(
    canary: Canary, way: Way, refused: str
) -> None:
    asked = itertools.count()

    def rebinding(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        address = "127.0.0.2" if next(asked) % 2 == 0 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with ScriptedServer(lambda _: None, host="127.0.0.2", port=canary.port, reads=False) as outside:
        dialer = Dialer(parse_networks(["127.0.0.2"]), rebinding)
        kinds = [way(dialer, f"https://rebinding.test:{canary.port}/") for _ in range(1000)]
        assert outside.connections == 500
    assert next(asked) == 1000, "a name is looked up once for each attempt"
    assert kinds[1::2] == [refused] * 500
    assert canary.connections == 0
