"""Pictures that are fetched ahead: given once, never too many, and errors come when the picture is asked for."""

import threading
import time
from collections.abc import Iterator

import pytest

from app.config import Settings
from app.domain.addresses import parse_networks
from app.domain.images import ImageReference, InlineImage, UrlImage
from app.errors import InvalidImageUrl
from tests.held import HeldServer
from tests.live import free_port
from workers import ahead
from workers.ahead import AheadFetcher
from workers.fetch import Fetcher, make_s3_client
from workers.outbound import Dialer


@pytest.fixture
def pictures() -> Iterator[HeldServer]:
    with HeldServer(b"a picture") as server:
        yield server


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch) -> AheadFetcher:
    """A fetcher that takes every store for a far one."""
    monkeypatch.setattr(ahead, "FAR_SECONDS", -1.0)
    dialer = Dialer(parse_networks(["127.0.0.0/8"]))
    return AheadFetcher(Fetcher(dialer, make_s3_client(Settings())), threads=2)


def fetch(fetcher: AheadFetcher, reference: ImageReference) -> bytes:
    return fetcher.fetch(reference, read_blob=lambda name: name.encode())


def wait_for(pictures: HeldServer, count: int) -> None:
    deadline = time.monotonic() + 5
    while len(pictures.paths) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_picture_that_was_begun_is_fetched_once_and_given_once(fetcher: AheadFetcher, pictures: HeldServer) -> None:
    picture = UrlImage(f"{pictures.url}/a.jpg")
    fetcher.begin(picture)
    fetcher.begin(picture)
    wait_for(pictures, 1)
    assert fetch(fetcher, picture) == b"a picture"
    assert pictures.paths == ["/a.jpg"]
    assert fetch(fetcher, picture) == b"a picture"
    assert pictures.paths == ["/a.jpg"] * 2


def test_no_more_are_begun_than_may_be_held(fetcher: AheadFetcher, pictures: HeldServer) -> None:
    references = [UrlImage(f"{pictures.url}/{name}.jpg") for name in "abc"]
    for reference in references:
        fetcher.begin(reference)
    assert [fetch(fetcher, reference) for reference in references[:2]] == [b"a picture"] * 2
    assert sorted(pictures.paths) == ["/a.jpg", "/b.jpg"]
    fetcher.begin(references[2])
    fetcher.forget(references[2])
    fetcher.forget(UrlImage("https://example.com/never-begun.jpg"))
    assert fetcher._held == {}


def test_a_picture_that_waits_behind_forgotten_ones_is_fetched_at_once(
    fetcher: AheadFetcher, pictures: HeldServer
) -> None:
    pictures.hold()
    for name in "ab":
        fetcher.begin(UrlImage(f"{pictures.url}/{name}.jpg"))
    wait_for(pictures, 2)
    for name in "ab":
        fetcher.forget(UrlImage(f"{pictures.url}/{name}.jpg"))
    fetcher.begin(UrlImage(f"{pictures.url}/c.jpg"))
    waiting = threading.Thread(target=fetch, args=(fetcher, UrlImage(f"{pictures.url}/c.jpg")))
    waiting.start()
    wait_for(pictures, 3)  # while those are still held
    pictures.release()
    waiting.join()


def test_an_error_comes_when_the_picture_is_asked_for(fetcher: AheadFetcher) -> None:
    nobody = UrlImage(f"http://127.0.0.1:{free_port()}/a.jpg")
    fetcher.begin(nobody)
    with pytest.raises(InvalidImageUrl):
        fetch(fetcher, nobody)


def test_bytes_of_a_job_are_read_when_they_are_asked_for(fetcher: AheadFetcher) -> None:
    assert fetch(fetcher, InlineImage("Image", "digest")) == b"Image"


def test_ahead_is_fetched_only_from_where_it_takes_long(
    fetcher: AheadFetcher, pictures: HeldServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "FAR_SECONDS", 0.03)
    fetch(fetcher, UrlImage(f"{pictures.url}/near.jpg"))
    fetcher.begin(UrlImage(f"{pictures.url}/next.jpg"))
    assert fetcher._held == {}
    pictures.hold()
    threading.Timer(0.7, pictures.release).start()
    fetch(fetcher, UrlImage(f"{pictures.url}/far.jpg"))
    fetcher.begin(UrlImage(f"{pictures.url}/next.jpg"))
    assert fetch(fetcher, UrlImage(f"{pictures.url}/next.jpg")) == b"a picture"
    assert pictures.paths == ["/near.jpg", "/far.jpg", "/next.jpg"]
