"""The layers: who may import whom, read from the import statements themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "stcli"

ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "cli": {
        "cli",
        "usecases",
        "wiring",
        "domain",
        "errors",
        "paths",
        "logs",
        "sandbox",
        "announcing",
        "bundle",
        "checkup",
        "event_loop",
        "machine",
        "own_program",
        "worker",
        "__init__",
    },
    "worker": {
        "worker",
        "wiring",
        "usecases",
        "domain",
        "errors",
        "database_address",
        "own_program",
    },
    "database_address": {"errors"},
    "usecases": {"usecases", "domain", "store", "errors", "current_run"},
    "wiring": {
        "usecases",
        "clients",
        "store",
        "credentials",
        "config",
        "domain",
        "errors",
        "paths",
        "logs",
        "processes",
        "scheduling",
        "database_address",
        "__init__",
    },
    "clients": {"clients", "domain", "errors", "paths", "__init__"},
    "store": {"store", "domain", "errors", "paths", "database_address", "__init__"},
    "credentials": {"credentials", "domain", "errors", "paths"},
    "config": {"config", "domain", "errors", "paths"},
    "scheduling": {"scheduling", "database_address", "errors", "paths"},
    "domain": {"domain", "errors"},
    "sandbox": {"sandbox"},
    "processes": {"store"},
    "logs": {"paths", "current_run"},
    "current_run": set(),
    "event_loop": set(),
    "own_program": set(),
    "machine": {"paths"},
    "alarms": {"alarms", "clients", "errors", "event_loop", "paths"},
    "announcing": {"alarms", "usecases", "wiring", "domain", "errors", "logs"},
    "checkup": {"usecases", "wiring", "domain", "errors", "machine", "__init__"},
    "bundle": {"wiring", "domain", "errors", "logs", "paths", "config"},
    "errors": set(),
    "paths": {"errors"},
}
"""What each part may import of stcli. ``usecases`` may name the store: there is one store (over
several engines), so a second description of it would only repeat the first."""

OUTSIDE: dict[str, set[str]] = {
    "httpx": {"clients/http_library.py"},
    "keyring": {"credentials/os_keyring.py"},
    "starlette": {"sandbox"},
    "uvicorn": {"sandbox"},
    "typer": {"cli"},
    "rich": {"cli"},
    "sqlite3": {"store", "clients/slots.py"},
    "psycopg": {"store/postgres.py", "worker"},
    "psycopg_pool": {"worker"},
    "procrastinate": {"worker"},
    "yaml": {"config", "cli/config.py"},
    "msgspec": {"clients", "store/customers.py", "wiring.py", "sandbox"},
    "pydantic": {"domain", "config"},
    "platformdirs": {"paths.py"},
}
"""Which places may use a library."""


def _imports(path: Path) -> set[str]:
    """What a module imports when it runs; imports for the type checker alone couple nothing."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            if node.module == "stcli":
                names.update(f"stcli.{alias.name}" for alias in node.names)
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    """Network in clients, SQL in store, files in config, terminal in cli; and httpx in one module."""
    place = path.relative_to(PACKAGE).as_posix()
    part = place.split("/")[0].removesuffix(".py")
    for name in _imports(path):
        root, _, rest = name.partition(".")
        if root == "stcli":
            wanted = rest.split(".")[0] if rest else "__init__"
            if not (PACKAGE / wanted).exists() and not (PACKAGE / f"{wanted}.py").exists():
                wanted = "__init__"
            assert wanted in ALLOWED[part], f"{place} may not import {name}"
        elif root in OUTSIDE:
            fits = any(place == where or place.startswith(f"{where}/") for where in OUTSIDE[root])
            assert fits, f"{place} may not use {root}"


def test_no_drawer_for_everything() -> None:
    """No utils, helpers or common: a file has one reason to exist."""
    assert not [p for p in FILES if p.stem in ("utils", "util", "helpers", "common", "misc")]
