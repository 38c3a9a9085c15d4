"""`rekollect doctor` tells what is wrong and what to do, and never hangs."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.assets import models_folder
from app.cli.doctor import Check, examine
from app.config import Settings
from app.db import face_models, migrate
from app.db.session import Database
from app.domain.face_models import VERSION_1, ModelFile, Preprocessing, registered
from app.local.postgres import LocalPostgres
from app.local.valkey import LocalValkey


def _examine(environment: dict[str, str], folder: Path, port: int = 0) -> dict[str, Check]:
    return {check.name: check for check in examine(environment, folder, "127.0.0.1", port)}


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[LocalPostgres]:
    server = LocalPostgres(tmp_path / "postgres", durable=False)
    server.start()
    yield server
    server.stop()


def test_without_settings_all_but_the_models_is_well(tmp_path: Path) -> None:
    checks = _examine({}, tmp_path)
    assert [name for name, check in checks.items() if check.status != "ok" and name != "models"] == []


def test_wrong_settings_are_named_and_the_rest_is_checked_all_the_same(tmp_path: Path) -> None:
    checks = _examine({"REKOLLECT_MAX_WAITERS": "0", "REKOLLECT_SECRET_KEY": "short"}, tmp_path)
    assert checks["settings"].status == "wrong"
    assert "REKOLLECT_MAX_WAITERS" in checks["settings"].detail
    assert "REKOLLECT_SECRET_KEY" in checks["settings"].detail
    assert checks["python"].status == "ok"


def test_missing_models_are_required_and_the_command_is_named(tmp_path: Path) -> None:
    check = _examine({"REKOLLECT_CACHE_DIR": str(tmp_path / "empty")}, tmp_path)["models"]
    assert (check.status, check.required) == ("missing", True)
    assert "rekollect models pull" in check.detail


def test_the_segment_cache_is_on_unless_it_was_switched_off(tmp_path: Path) -> None:
    check = _examine({"REKOLLECT_SEGMENT_DIR": str(tmp_path)}, tmp_path)["segment cache"]
    assert (check.status, check.detail) == ("ok", f"on, in {tmp_path}")
    check = _examine({"REKOLLECT_SEGMENT_FACES": "0"}, tmp_path)["segment cache"]
    assert (check.status, check.required) == ("ok", False)
    assert "Postgres" in check.detail


def test_servers_that_do_not_answer_are_named_by_their_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    checks = _examine(
        {
            "REKOLLECT_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{port}/none",
            "REKOLLECT_REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "REKOLLECT_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        },
        tmp_path,
    )
    for name, variable in (("database", "DATABASE_URL"), ("redis", "REDIS_URL"), ("s3", "S3_ENDPOINT_URL")):
        assert checks[name].status == "wrong"
        assert "REKOLLECT_" + variable in checks[name].detail
    assert checks["migrations"].status == "wrong"
    assert "openssl" in checks["secret key"].detail


def test_a_database_without_the_schema_asks_for_migrate_until_it_was_run(
    tmp_path: Path, postgres: LocalPostgres
) -> None:
    environment = {"REKOLLECT_DATABASE_URL": postgres.url}
    before = _examine(environment, tmp_path)
    assert before["database"].status == "ok"
    assert before["migrations"].status == "missing"
    assert "rekollect migrate" in before["migrations"].detail
    migrate.upgrade(postgres.url)
    assert _examine(environment, tmp_path)["migrations"].status == "ok"


def test_the_file_of_a_registered_version_is_looked_for(
    tmp_path: Path, postgres: LocalPostgres, settings: Settings
) -> None:
    migrate.upgrade(postgres.url)
    environment = {
        "REKOLLECT_DATABASE_URL": postgres.url,
        "REKOLLECT_MODELS_DIR": str(settings.models_dir or models_folder(settings)),
    }
    assert _examine(environment, tmp_path)["models"].status == "ok"
    file = ModelFile("other.onnx", "0" * 64, 1, "MIT", url="")
    database = Database(postgres.url)
    with database.transaction() as connection:
        face_models.insert(connection, registered("2.0", file, 96, VERSION_1.curve, Preprocessing()))
    database.close()
    check = _examine(environment, tmp_path)["models"]
    assert (check.status, check.required) == ("missing", True)
    assert check.detail.startswith("other.onnx: ")
    assert "REKOLLECT_MODELS_DIR" in check.detail


def test_a_redis_that_answers_and_a_port_in_use_are_seen(tmp_path: Path) -> None:
    valkey = LocalValkey(tmp_path / "valkey")
    valkey.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            checks = _examine({"REKOLLECT_REDIS_URL": valkey.url}, tmp_path, port)
        assert checks["redis"].status == "ok"
        assert checks["port"].status == "wrong"
        assert str(port) in checks["port"].detail
    finally:
        valkey.stop()
