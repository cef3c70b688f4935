"""How good published profiles are, by labels: precision, recall and inventions of each field, and the run's rates.

Exit codes: 0 scored; 1 failed; 2 the operator's mistake.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from extraction.config.settings import profile_model
from extraction.errors import OperatorError
from extraction.evaluation.labels import load_labels
from jobs.cli.command import DONE, Parser, enter, mapped
from jobs.cli.tables import console
from jobs.reports.score_table import show_mistakes, show_score
from jobs.reports.scores import Score, score
from jobs.state.published_run import PublishedRun


def parser() -> Parser:
    """The command line."""
    flags = Parser("evaluate.py", __doc__)
    flags.add_argument("--profiles", required=True, metavar="OUT", help="an output folder or URL of extract.py")
    flags.add_argument(
        "--labels",
        required=True,
        type=Path,
        metavar="FILE",
        help="YAML, JSON lines or Parquet",
    )
    flags.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="FIELD=KEY",
        help="the label's key for a profile field, where they differ: city=location",
    )
    flags.add_argument(
        "--documents", metavar="PATH", help="the run's input: which labels stand in it is looked up there"
    )
    flags.add_argument("--schema", metavar="MODULE:MODEL", help="the profile model")
    flags.add_argument(
        "--by", choices=["document_type"], help="a row for each kind of documents, with its calibration error"
    )
    flags.add_argument(
        "--model-alone",
        action="store_true",
        help="score what the model gives where it stands in the documents, without finders and confidence",
    )
    flags.add_argument("--json", type=Path, metavar="FILE", help="write all figures and mistakes there")
    flags.add_argument("--errors", type=int, default=0, metavar="N", help="print N mistakes of each field")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Score, and say in one line what went wrong."""
    return enter(run, parser(), argv)


def run(flags: argparse.Namespace) -> int:
    """Read labels and profiles, compare, print and write."""
    labels = load_labels(flags.labels, dict(map(mapped, flags.map)))
    published = PublishedRun.at(flags.profiles)
    model = profile_model(flags.schema) if flags.schema else published.model()
    found = score(published, model, labels, flags.documents, alone=flags.model_alone, by_kind=flags.by is not None)
    out = console()
    show_score(out, found)
    if flags.errors:
        show_mistakes(out, found, flags.errors)
    if flags.json:
        _write(flags.json, published, found)
    return DONE


def _write(path: Path, published: PublishedRun, found: Score) -> None:
    told = published.manifest
    head = {"run_id": told.run_id, "fingerprint": told.fingerprint, "versions": told.versions}
    text = json.dumps(_plain({**head, **_plain(found)}), indent=2, ensure_ascii=False, default=str)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"--json {path} can't be written: {error.strerror}") from None


def _plain(value: Any) -> Any:
    """A score as JSON has it: NaN, which it has not, is null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    sys.exit(main())
