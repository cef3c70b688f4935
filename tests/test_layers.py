"""The order of the house: imports run one way, in no circle, and a name is used once."""

import ast
import subprocess
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.machinery import PathFinder
from pathlib import Path

from tests.conftest import ROOT

# From the ground up. A module imports from its own folder and from those before it.
FLOORS = (
    "extraction.settings_base",
    "extraction.errors",
    "extraction.documents",
    "extraction.document_validation",
    "extraction.grounding",
    "extraction.schema",
    "extraction.prompting",
    "extraction.merging",
    "extraction.config",
    "extraction.chunking",
    "extraction.evaluation",
    "actors.servers",
    "actors",
    "jobs.state",
    "jobs.inputs",
    "jobs.stages",
    "jobs.cli",
    "jobs.reports",
    "jobs.backfills",
    "jobs.benchmarks",
    "jobs",
)


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    paths = (path for top in ("extraction", "actors", "jobs") for path in (ROOT / top).rglob("*.py"))
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    assert len(found) > 50
    return {name: path for name, path in found.items() if not name.endswith("__init__")}


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """The product's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from inner or {str(node.module)}


IMPORTS = {name: {other for other in imported(path) if other in MODULES} for name, path in MODULES.items()}


def floor(module: str) -> int:
    """How high a module stands."""
    return max((n for n, folder in enumerate(FLOORS) if f"{module}.".startswith(f"{folder}.")), key=_depth)


def _depth(number: int) -> int:
    return FLOORS[number].count(".")


def test_no_module_imports_from_a_higher_floor() -> None:
    upward = {(name, other) for name, others in IMPORTS.items() for other in others if floor(other) > floor(name)}
    assert upward == set()


def test_imports_run_in_no_circle() -> None:
    list(TopologicalSorter(IMPORTS).static_order())


def test_nothing_imports_an_entry_point_or_a_test() -> None:
    """jobs.main alone imports entry points: the command company-profiles is made of their commands."""
    entries = {name for name in MODULES if name.count(".") == 1 and name.startswith("jobs.")}
    assert "jobs.extract" in entries
    assert IMPORTS["jobs.main"] & entries == entries - {"jobs.main", "jobs.rayjob"}
    rest = {name: others for name, others in IMPORTS.items() if name != "jobs.main"}
    assert {(name, other) for name, others in rest.items() for other in others & entries} == set()
    tests = {
        (name, other) for name, path in MODULES.items() for other in imported(path) if other.startswith("tests")
    }
    assert tests == set()


def test_a_name_is_defined_once() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for module, path in MODULES.items():
        for name in definitions(path):
            homes[name].append(module)
    entry = {"main", "run", "app"}  # what each command, or each benchmark, has
    doubled = {n: where for n, where in homes.items() if len(where) > 1 and n not in entry and n[0] != "_"}
    assert doubled == {}


def definitions(path: Path) -> set[str]:
    """The classes, functions and constants of a module."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_extraction_loads_neither_ray_nor_openai() -> None:
    names = ", ".join(name for name in MODULES if name.startswith("extraction."))
    code = f"import sys, {names}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert {"extraction", "pydantic"} <= loaded
    assert not loaded & {"ray", "openai", "actors", "jobs", "tests", "sglang", "xllamacpp", "pynvml", "fsspec"}


def test_tasks_that_send_no_request_load_no_http_client() -> None:
    """Each process of Ray imports what its tasks need: openai is a third of that."""
    names = "jobs.stages.plan, jobs.stages.reduce, jobs.state.ledger_compaction"
    code = f"import sys, {names}; print('openai' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout == "False\n"


def test_no_file_in_jobs_hides_a_library_from_scripts_in_it() -> None:
    paths = sysconfig.get_paths()
    clean = [
        paths["stdlib"],
        paths["platstdlib"],
        f"{paths['platstdlib']}/lib-dynload",
        paths["purelib"],
        paths["platlib"],
    ]
    assert all(is_library(name, clean) for name in ("ray", "types", "numpy", "pyarrow", "resource"))
    scripts = [path.stem for path in (ROOT / "jobs").iterdir() if path.suffix == ".py" or path.is_dir()]
    assert [name for name in scripts if not name.startswith("_") and is_library(name, clean)] == []


def is_library(name: str, paths: list[str]) -> bool:
    return name in sys.stdlib_module_names or PathFinder.find_spec(name, paths) is not None
