"""Pulling from an official address: a real https server on this machine, with a certificate made for the test."""

import contextlib
import datetime
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app import asset_sources, assets
from app.asset_sources import SourceFailed, fetch_address
from app.config import Settings

CONTENT = b"portrait" * 50_000


class Handler(BaseHTTPRequestHandler):
    """Gives the content, or 404."""

    def do_GET(self) -> None:
        found = self.path == "/file"
        self.send_response(200 if found else 404)
        self.end_headers()
        if found:
            with contextlib.suppress(OSError):  # the client may hang up early
                self.wfile.write(CONTENT)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def write_certificate(path: Path) -> None:
    """Write a key and a certificate for 127.0.0.1, valid for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - hour, now + hour)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    certificate = tmp_path / "certificate.pem"
    write_certificate(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_address_gives_the_whole_file(site: str) -> None:
    assert fetch_address(f"{site}/file", len(CONTENT)) == CONTENT


def test_more_bytes_than_the_file_has_are_not_read(site: str) -> None:
    with pytest.raises(SourceFailed, match="more bytes"):
        fetch_address(f"{site}/file", 1000)


def test_a_file_that_takes_too_long_is_given_up(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asset_sources, "FILE_SECONDS", 0.0)
    with pytest.raises(SourceFailed, match="took longer"):
        fetch_address(f"{site}/file", len(CONTENT))


@pytest.mark.parametrize("url", ["", "http://127.0.0.1/file", "file:///etc/hostname"])
def test_only_https_is_asked(url: str) -> None:
    with pytest.raises(SourceFailed, match="no official address"):
        fetch_address(url, 1000)


def test_a_missing_file_is_a_failed_source(site: str) -> None:
    with pytest.raises(SourceFailed, match="404"):
        fetch_address(f"{site}/other", 1000)


def test_the_address_comes_before_the_package_index(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = assets.Asset(
        "file.jpg",
        hashlib.sha256(CONTENT).hexdigest(),
        len(CONTENT),
        f"{site}/file",
        assets.SAMPLES_PACKAGE,
        "member",
    )
    monkeypatch.setattr(assets, "SAMPLES", (asset,))
    lines: list[str] = []
    paths = assets.pull_samples(Settings(cache_dir=tmp_path), lines.append)
    assert paths[0].read_bytes() == CONTENT
    assert lines == [f"file.jpg: from {site.removeprefix('https://')}, 0.4 MB, checksum ok"]
