"""The chaos of `make chaos`: one of its quick kinds, so that it runs when it is wanted."""

import json
import subprocess
import sys
from pathlib import Path

from tests.chaos.__main__ import AREAS
from tests.chaos.kinds import KINDS
from tests.conftest import ROOT

QUICK = "files cut off, of no bytes, not Parquet, of another schema"


def test_a_quick_kind_is_clean(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "tests.chaos", "--only", QUICK, "--seed", "1", "--json", str(told)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert [(one["name"], one["census"]) for one in json.loads(told.read_text())["kinds"]] == [(QUICK, "clean")]


def test_kinds_have_names_of_their_own() -> None:
    assert AREAS
    assert len({str(kind) for kind in KINDS}) == len(KINDS) > 20
