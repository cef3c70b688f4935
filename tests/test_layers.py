"""Imports go one way: jobs, then actors, then extraction, which knows neither Ray nor OpenAI's client."""

import ast
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("extraction", "actors", "jobs")
FORBIDDEN = {"extraction": {"actors", "jobs", "tests"}, "actors": {"jobs", "tests"}, "jobs": {"tests"}}


def modules(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found
    return found


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield path.relative_to(ROOT).parts[0] if node.level else (node.module or "").split(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_is_below_it(room: str) -> None:
    upward = {(path.name, name) for path in modules(room) for name in imported(path) if name in FORBIDDEN[room]}
    assert upward == set()


def test_extraction_loads_neither_ray_nor_openai() -> None:
    names = [f"extraction.{path.stem}" for path in modules("extraction") if path.stem != "__init__"]
    code = f"import sys, {', '.join(names)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert {"extraction", "pydantic"} <= loaded
    assert not loaded & {"ray", "openai", "actors", "jobs", "tests", "sglang", "xllamacpp", "pynvml", "fsspec"}


def test_no_file_in_jobs_hides_a_library_from_scripts_in_it() -> None:
    paths = sysconfig.get_paths()
    clean = [
        paths["stdlib"],
        paths["platstdlib"],
        f"{paths['platstdlib']}/lib-dynload",
        paths["purelib"],
        paths["platlib"],
    ]
    taken = {"ray", "types", "numpy", "pyarrow", "resource"}
    assert all(is_library(name, clean) for name in taken)
    assert [path.name for path in modules("jobs") if path.stem != "__init__" and is_library(path.stem, clean)] == []


def is_library(name: str, paths: list[str]) -> bool:
    return name in sys.stdlib_module_names or PathFinder.find_spec(name, paths) is not None
