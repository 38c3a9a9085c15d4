"""Who may import whom. Arrows point down the list of layers; two units of one layer do not know each other.

The check reads the sources, so an import inside a function counts like one at the top. Each rule is shown to bite: a planted
breach makes it fail.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "workers", "migrations")

#: From the top down. A unit is a package or a module; inside a unit everything may import everything, without cycles.
LAYERS = (
    ("app.cli", "workers.bench"),
    ("app.local", "workers.main"),
    ("app.main", "app.web_worker", "workers.tasks"),
    ("workers.bulk",),
    ("app.api", "workers.courier", "workers.jobs", "workers.schedules", "workers.evaluation"),
    ("workers.runtime",),
    ("workers.store", "workers.segments"),
    (
        "workers.heartbeat",
        "workers.bells",
        "workers.pool",
        "workers.ticks",
        "workers.dispatcher",
        "workers.drain",
        "workers.insist",
        "workers.indexer",
        "workers.slots",
        "workers.collection_cache",
        "workers.company",
        "workers.cores",
        "workers.webhooks",
        "workers.fetch",
        "workers.vision",
    ),
    ("workers.outbound",),
    ("workers.wire",),
    ("app.services",),
    ("migrations",),
    ("app.broker", "app.db", "app.rate_limits"),
    ("app.assets",),
    ("app.asset_sources",),
    ("app.service_model", "app.sigv4", "app.encryption", "app.config", "app.logs"),
    ("app.domain", "app.failpoints"),
    ("app.errors",),
)

#: app never imports workers, and vision knows no database. (`app.db.migrate` names the package of the migrations, no more.)
FORBIDDEN = (
    ("app", "workers"),
    ("workers", "app.api"),
    ("workers.vision", "app.db"),
    ("workers.vision", "app.services"),
    ("workers.vision", "app.broker"),
)
ALLOWED = {("app.db.migrate", "migrations")}

#: Each third-party package has owners; nobody else imports it.
OWNERS = {
    "flask": ("app.api", "app.main"),
    "werkzeug": ("app.main",),
    "gunicorn": ("app.web_worker",),
    "sqlalchemy": (
        "app.db",
        "app.services",
        "app.api.probes",
        "app.cli",
        "migrations",
        "workers.bench",
        "workers.segments",
    ),
    "pgvector": ("app.db",),
    "psycopg": ("app.db", "app.local", "app.cli.doctor"),
    "alembic": ("app.db.migrate", "migrations"),
    "celery": (
        "app.broker",
        "workers.main",
        "workers.tasks",
        "workers.runtime",
        "workers.bells",
        "workers.pool",
        "workers.ticks",
    ),
    "kombu": ("app.broker", "workers.ticks"),
    "redis": ("app.rate_limits",),
    "cv2": ("workers.vision", "workers.evaluation.peers"),
    "onnxruntime": ("workers.vision",),
    "onnx": ("workers.vision",),
    "faiss": ("workers.segments",),
    "numpy": (
        "workers.vision",
        "workers.evaluation",
        "workers.bench",
        "workers.segments",
        "app.db.vectors",
        "app.domain.embeddings",
    ),
    "boto3": ("workers.fetch", "app.cli.demo"),
    "botocore": ("app.service_model", "app.sigv4", "workers.fetch", "workers.store", "app.cli.demo"),
    "cronsim": ("app.domain.cron",),
    "cryptography": ("app.encryption",),
    "standardwebhooks": ("app.cli.receiver",),
}


def modules(root: Path) -> dict[str, Path]:
    """Name every module of the product."""
    found = {}
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Name what a file imports; `from a import b` gives a.b, which may be a module or a name in one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not used"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(root: Path) -> set[tuple[str, str]]:
    """Give every import as (importer, imported); ours are named by module."""
    ours = modules(root)
    found = set()
    for name, path in ours.items():
        for target in imports(path):
            while target not in ours and target.split(".")[0] in PACKAGES and "." in target:
                target = target.rpartition(".")[0]
            found.add((name, target))
    return found


def under(name: str, unit: str) -> bool:
    return name == unit or name.startswith(unit + ".")


def layer(name: str) -> tuple[int, str] | None:
    for index, units in enumerate(LAYERS):
        for unit in units:
            if under(name, unit):
                return index, unit
    return None


def breaches(root: Path) -> list[str]:
    """List every import that the rules forbid."""
    found = []
    graph: dict[str, set[str]] = {}
    for importer, imported in sorted(arrows(root) - ALLOWED):
        if imported.split(".")[0] in PACKAGES:
            graph.setdefault(importer, set()).add(imported)
            found += _breach_of_layers(importer, imported)
        else:
            owners = OWNERS.get(imported.split(".")[0])
            if owners is not None and not any(under(importer, owner) for owner in owners):
                found.append(f"{importer} imports {imported}, which belongs to {', '.join(owners)}")
    TopologicalSorter(graph).prepare()  # raises CycleError
    return found


def _breach_of_layers(importer: str, imported: str) -> list[str]:
    for source, target in FORBIDDEN:
        if under(importer, source) and under(imported, target):
            return [f"{importer} imports {imported}: {source} may not know {target}"]
    here, there = layer(importer), layer(imported)
    if here is None or there is None or here[1] == there[1]:
        return []
    return [] if here[0] < there[0] else [f"{importer} imports {imported}: that points up"]


def test_every_module_has_a_layer() -> None:
    packages = {"app", "workers"}
    assert [name for name in modules(ROOT) if layer(name) is None and name not in packages] == []


def test_imports_point_down_and_third_party_packages_have_owners() -> None:
    assert breaches(ROOT) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("app/services/planted.py", "from workers.fetch import Fetcher"),
        ("app/services/planted.py", "from app.api import auth"),
        ("app/domain/planted.py", "from app.db import faces"),
        ("app/db/planted.py", "from app.broker import Doorbell"),
        ("workers/jobs/planted.py", "from app.api.context import context"),
        ("workers/vision/planted.py", "from app.services import faces"),
        ("workers/planted_tasks/__init__.py", "import cv2"),
        ("app/api/planted.py", "import numpy"),
        ("app/api/planted.py", "def late():\n    import onnxruntime"),
        ("app/services/planted.py", "import flask"),
        ("app/services/planted.py", "from workers.segments.cache import Segments"),
        ("workers/jobs/planted.py", "import faiss"),
    ],
)
def test_a_planted_breach_is_found(tmp_path: Path, module: str, line: str) -> None:
    for path in modules(ROOT).values():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    planted = tmp_path / module
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(line + "\n")
    assert breaches(tmp_path) != []


def test_the_web_process_loads_neither_pixels_nor_models() -> None:
    script = (
        "import sys, app.main; print(sorted({'cv2', 'faiss', 'onnxruntime', 'onnx', 'workers'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
