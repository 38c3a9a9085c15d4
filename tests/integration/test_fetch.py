"""Image references against a real S3 server and real web servers."""

import io
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.config import Settings
from app.domain.addresses import NO_PUBLIC_ADDRESS, parse_networks
from app.domain.images import MAX_FETCHED_BYTES, InlineImage, S3Image, UrlImage
from app.errors import ImageTooLarge, InvalidImageUrl, InvalidS3Object, S3Away
from tests.s3 import S3Server
from tests.scripted import Script, ScriptedServer, answer, drip, hang, raw
from workers import fetch
from workers.fetch import Fetcher, make_s3_client
from workers.outbound import Dialer

BUCKET = "pictures"
CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Iterator[Any]:
    """Give a client that may write; the bucket keeps versions."""
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield client
    client.close()


def settings(server: S3Server, **changes: str) -> Settings:
    values = {
        "s3_endpoint_url": server.endpoint_url,
        "s3_access_key_id": server.access_key_id,
        "s3_secret_access_key": server.secret_access_key,
    }
    return Settings(**(values | changes))  # type: ignore[arg-type]


def fetcher(configured: Settings | None = None, *, allow: str = "127.0.0.0/8") -> Fetcher:
    return Fetcher(Dialer(parse_networks([allow])), make_s3_client(configured or Settings(s3_endpoint_url=CLOSED_PORT)))


def get(fetcher: Fetcher, reference: Any) -> bytes:
    return fetcher.fetch(reference, read_blob=lambda name: name.encode())


def test_inline_bytes_come_from_the_blob() -> None:
    assert get(fetcher(), InlineImage("image", "digest")) == b"image"


@pytest.mark.parametrize("key", ["a.jpg", "ordner/ä b+c%20.jpg"])
def test_an_object_is_read(s3_server: S3Server, bucket: Any, key: str) -> None:
    bucket.put_object(Bucket=BUCKET, Key=key, Body=b"content")
    assert get(fetcher(settings(s3_server)), S3Image(BUCKET, key, None)) == b"content"


def test_the_named_version_is_read(s3_server: S3Server, bucket: Any) -> None:
    first, _ = (bucket.put_object(Bucket=BUCKET, Key="v", Body=body)["VersionId"] for body in (b"first", b"second"))
    reader = fetcher(settings(s3_server))
    assert get(reader, S3Image(BUCKET, "v", first)) == b"first"
    assert get(reader, S3Image(BUCKET, "v", None)) == b"second"


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_an_object_is_exact(s3_server: S3Server, bucket: Any, over: int) -> None:
    bucket.put_object(Bucket=BUCKET, Key="large", Body=io.BytesIO(bytes(MAX_FETCHED_BYTES + over)))
    reference = S3Image(BUCKET, "large", None)
    if over:
        with pytest.raises(ImageTooLarge):
            get(fetcher(settings(s3_server)), reference)
    else:
        assert len(get(fetcher(settings(s3_server)), reference)) == MAX_FETCHED_BYTES


@pytest.mark.parametrize(
    ("reference", "changes", "cause"),
    [
        (S3Image(BUCKET, "missing", None), {}, "NoSuchKey"),
        (S3Image(BUCKET, "kept", "nosuchversion"), {}, "NoSuchVersion"),
        (S3Image("missing-bucket", "a", None), {}, "NoSuchBucket"),
        (S3Image("../no bucket", "a", None), {}, "ParamValidationError"),
        (S3Image(BUCKET, "\ud800", None), {}, "UnicodeEncodeError"),
        (S3Image(BUCKET, "kept", None), {"s3_access_key_id": "nobody"}, "InvalidAccessKeyId"),
        (S3Image(BUCKET, "kept", None), {"s3_secret_access_key": "wrong-secret"}, "SignatureDoesNotMatch"),
        (S3Image(BUCKET, "kept", None), {"s3_access_key_id": "", "s3_secret_access_key": ""}, "NoCredentialsError"),
        (S3Image(BUCKET, "kept", None), {"s3_endpoint_url": CLOSED_PORT}, "EndpointConnectionError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_s3_failure_reads_the_same_and_is_logged(
    s3_server: S3Server,
    bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reference: S3Image,
    changes: dict[str, str],
    cause: str,
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    bucket.put_object(Bucket=BUCKET, Key="kept", Body=b"content")
    with caplog.at_level(logging.WARNING, fetch.__name__), pytest.raises(InvalidS3Object) as failed:
        get(fetcher(settings(s3_server, **changes)), reference)
    assert failed.value.message == InvalidS3Object.default_message
    (record,) = caplog.records
    assert record.message == "s3_fetch_failed"
    assert cause in record.__dict__["cause"]
    assert "secret" not in str(record.__dict__)


@pytest.mark.parametrize("status", [404, 403])
def test_a_store_that_says_no_is_not_asked_again(status: int) -> None:
    with ScriptedServer(answer(status)) as server, pytest.raises(InvalidS3Object) as failed:
        get(fetcher(canned(server)), S3Image(BUCKET, "a", None))
    assert not failed.value.retryable


@pytest.mark.parametrize("script", [answer(503), raw(b""), raw(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhalf")])
def test_a_store_that_is_away_may_be_asked_again(script: Script) -> None:
    with ScriptedServer(script) as server, pytest.raises(S3Away):
        get(fetcher(canned(server)), S3Image(BUCKET, "a", None))


def test_one_deadline_covers_all_of_an_s3_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "S3_DEADLINE_SECONDS", 1.0)
    sent: list[int] = []

    def slow(sock: socket.socket) -> None:
        time.sleep(1.2)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for number in range(20):
            sock.sendall(bytes(70_000))
            sent.append(number)
            time.sleep(0.2)

    with ScriptedServer(slow) as server, pytest.raises(S3Away):
        get(fetcher(canned(server)), S3Image(BUCKET, "a", None))
    assert len(sent) <= 3  # its body would have had a second of its own


def canned(server: ScriptedServer) -> Settings:
    return Settings(s3_endpoint_url=server.url, s3_access_key_id="a", s3_secret_access_key="b")


def test_an_image_behind_a_url_is_read() -> None:
    with ScriptedServer(answer(200, b"image")) as server:
        assert get(fetcher(), UrlImage(f"{server.url}/a.jpg")) == b"image"


def test_an_image_behind_a_url_may_be_too_large() -> None:
    with ScriptedServer(answer(200, bytes(MAX_FETCHED_BYTES + 1))) as server, pytest.raises(ImageTooLarge):
        get(fetcher(), UrlImage(server.url))


@pytest.mark.parametrize(
    ("script", "reason", "passes"),
    [
        (answer(404, b"not here"), "the server answered 404", False),
        (answer(302, Location="http://127.0.0.1/"), "the server answered 302", False),
        (answer(206, b"part"), "the server answered 206", False),
        (answer(429), "the server answered 429", True),
        (answer(503), "the server answered 503", True),
        (raw(b"nonsense\r\n"), "the server did not answer in HTTP/1.1", True),
        (raw(b""), "the server closed the connection early", True),
        (hang, "the server did not answer in time", True),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n", b"a"), "the server did not answer in time", True),
    ],
    ids=["404", "302", "206", "429", "503", "nonsense", "closed", "silent", "slow"],
)
def test_the_caller_learns_why_a_url_gave_no_image_and_whether_it_may_pass(
    script: Script, reason: str, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "URL_DEADLINE_SECONDS", 0.5)
    with ScriptedServer(script) as server, pytest.raises(InvalidImageUrl) as failed:
        get(fetcher(), UrlImage(server.url))
    assert failed.value.message == f"Unable to get the image: {reason}."
    assert failed.value.retryable == passes


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost", "no-such-name.invalid"]
)
def test_the_caller_learns_nothing_about_the_inside(host: str) -> None:
    with ScriptedServer(hang) as canary, pytest.raises(InvalidImageUrl) as failed:
        get(fetcher(allow="192.0.2.1"), UrlImage(f"https://{host}:{canary.port}/"))
    assert failed.value.message == f"Unable to get the image: {NO_PUBLIC_ADDRESS}."
    assert not failed.value.retryable
    assert canary.connections == 0


def test_a_malformed_url_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidImageUrl, match=r"^Unable to get the image: the URL must begin with https://\.$"):
        get(fetcher(), UrlImage("ftp://example.com/a?signature=hidden"))
    assert "hidden" not in str([record.__dict__ for record in caplog.records])
