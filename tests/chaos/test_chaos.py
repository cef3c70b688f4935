"""The chaos of `make chaos`: a few of its quick kinds, so that it runs when it is wanted."""

import json
import subprocess
import sys
from pathlib import Path

from tests.chaos.__main__ import AREAS
from tests.chaos.kinds import KINDS
from tests.conftest import ROOT

QUICK = ("files cut off, of no bytes, not Parquet, of another schema", "prompt injection")


def test_quick_kinds_are_clean(tmp_path: Path) -> None:
    only = [part for words in QUICK for part in ("--only", words)]
    command = [sys.executable, "-m", "tests.chaos", *only, "--seed", "1", "--json", str(tmp_path / "told.json")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    told = json.loads((tmp_path / "told.json").read_text())
    assert [(one["name"], one["census"]) for one in told["kinds"]] == [(words, "clean") for words in QUICK]


def test_kinds_have_names_of_their_own() -> None:
    assert AREAS
    assert len({str(kind) for kind in KINDS}) == len(KINDS) > 20
