"""What integration tests begin with: a clean desk on Postgres and Valkey, and TLS with an authority of our own."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
import redis
import sqlalchemy as sa
from celery import Celery
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.broker import Doorbell, create_celery
from app.config import Settings
from app.db import schema
from app.db.session import Database
from app.domain.addresses import parse_networks
from app.local.valkey import LocalValkey
from tests.clockwork import Clockwork, clear
from tests.desk import Desk
from tests.factories import SECRET_KEY, Account, make_account
from workers.runtime import Runtime

TLS_NAME = "images.example.test"


@pytest.fixture(scope="session")
def database(database_url: str) -> Iterator[Database]:
    """Connections to the migrated database."""
    database = Database(database_url, pool_size=16)
    yield database
    database.close()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalValkey]:
    server = LocalValkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def celery(valkey: LocalValkey) -> Iterator[Celery]:
    celery = create_celery(valkey.url)
    yield celery
    celery.close()


@pytest.fixture
def bells(valkey: LocalValkey) -> Iterator[redis.Redis]:
    """The queues of doorbells, empty: the list named like a lane holds its bells."""
    with redis.Redis(unix_socket_path=unquote(valkey.url.removeprefix("redis+socket://"))) as client:
        client.flushall()
        yield client


@pytest.fixture
def account(database: Database) -> Account:
    """An account without any data."""
    return make_account(database)


@pytest.fixture
def clean_jobs(database: Database) -> None:
    """No job, no event and no reprocess of an earlier test: claims are made across accounts."""
    with database.transaction() as connection:
        connection.execute(sa.delete(schema.reprocess_pages))
        connection.execute(sa.delete(schema.reprocess_failures))
        connection.execute(sa.delete(schema.reprocesses))
        connection.execute(sa.delete(schema.jobs))
        connection.execute(sa.delete(schema.batch_items))
        connection.execute(sa.delete(schema.batches))
        connection.execute(sa.delete(schema.events))


@pytest.fixture
def desk(database: Database, celery: Celery, bells: redis.Redis, account: Account, clean_jobs: None) -> Desk:
    """The services around jobs, with no job and no bell yet."""
    return Desk(database, Doorbell(celery), account)


@pytest.fixture
def clockwork(desk: Desk) -> Iterator[Clockwork]:
    """The services around schedules; none but the test's own come due."""
    clear(desk.database)
    yield Clockwork(desk.database, desk.account)
    clear(desk.database)


@pytest.fixture
def runtime(desk: Desk, celery: Celery) -> Iterator[Runtime]:
    """What a courier's process holds open; loopback may be dialled."""
    settings = Settings(
        database_url=desk.database.url,
        secret_key=SECRET_KEY,
        dial_allow=parse_networks(["127.0.0.0/8"]),
        courier_threads=1,
    )
    runtime = Runtime(settings, celery)
    yield runtime
    runtime.database.close()


@dataclass(frozen=True)
class Certificates:
    """A certificate authority as a file, and a server's side of TLS for TLS_NAME."""

    authority: Path
    server: ssl.SSLContext
    names_asked: list[str | None]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("Test authority", authority_key, authority_key, None)
    server = _certificate(TLS_NAME, server_key, authority_key, authority)
    (tmp_path / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM) + _pem(server_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    return Certificates(tmp_path / "authority.pem", context, asked)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_key_usage(is_authority=issuer is None), critical=True)
    )
    if issuer is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
