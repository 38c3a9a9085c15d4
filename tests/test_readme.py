"""The README stays true: settings, operations, commands and the map are compared with the code."""

import dataclasses
import re
from pathlib import Path

from app.cli.main import COMMANDS
from app.config import PREFIX, Settings
from app.services import operations

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_settings_table_lists_every_setting_with_its_meaning_and_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|.*\|$", section("Settings"), re.MULTILINE))
    assert rows == {PREFIX + field.name.upper(): field.metadata["help"] for field in dataclasses.fields(Settings)}
    defaults = dict(re.findall(r"^\| `(\w+)` \| .* \| ?(.*?) ?\|$", section("Settings"), re.MULTILINE))
    for field in dataclasses.fields(Settings):
        shown = defaults[PREFIX + field.name.upper()].strip("`")
        plain = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        assert shown == ("" if plain in (None, b"") else str(plain)), field.name


def test_the_operations_table_lists_every_operation_and_how_it_runs() -> None:
    rows = dict(
        re.findall(r"^\| (\w+) \| (at once|as a job) \|", section("Operations and differences from AWS"), re.MULTILINE)
    )
    expected = dict.fromkeys(operations.QUICK, "at once") | dict.fromkeys(operations.IMAGE, "as a job")
    assert rows == expected


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"rekollect (\w+)(?=[ `\n|])", README.replace("rekollect command", "")))
    assert named - {"is", "as"} <= set(COMMANDS)


def test_the_map_names_every_file_and_folder_of_the_two_packages() -> None:
    shown: set[str] = set()
    folder = ""
    for line in section("Map").splitlines():
        found = re.match(r"^(  )?([\w.]+/?)\s{2,}", line)
        if found and found[2].endswith("/") and not found[1]:
            folder = found[2]
        elif found and found[1]:
            shown.add(folder + found[2])
    real = {
        f"{package}/{path.name}{'/' if path.is_dir() else ''}"
        for package in ("app", "workers")
        for path in (ROOT / package).iterdir()
        if path.name not in ("__init__.py", "__pycache__")
    }
    assert shown == real


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([\w-]+)", README)) - {"it"} <= targets
