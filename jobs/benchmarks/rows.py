"""Rows to measure: a scenario's name, and what is laid over it.

balanced+wire=full+chunks=48+path=bare
auto_80gb+quantization=fp8+sampling.frequency_penalty=0.4
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, cast, get_args

from extraction.config.flags import Flags
from extraction.config.settings import Settings, load, parse_override
from extraction.errors import OperatorError
from jobs.benchmarks.measurement import Path, Wire
from jobs.stages.engines import fleet
from jobs.state.run import Run, new_run_id
from jobs.state.storage import Storage


@dataclass(frozen=True)
class Row:
    """What is measured: `text` is how it was asked for, `overrides` are settings by their dotted keys.
    Without `wire`, the server's grammar decides; `chunks` is how many it is asked about, `paths` how."""

    text: str
    overrides: Mapping[str, Any]
    wire: Wire | None
    chunks: int
    paths: tuple[Path, ...]

    def settings(self, config: FilePath) -> Settings:
        """The settings of a run with this row. Raises OperatorError for a key or value that is none."""
        wire = {} if self.wire in (None, "full") else {"wire": self.wire}
        return load(config, {**self.overrides, **wire})

    def run(self, settings: Settings, storage: Storage, logs: FilePath) -> Run:
        """A run of its own, with a ledger that holds nothing."""
        kind = PydanticRun if self.wire == "full" else Run
        return kind(new_run_id(), settings, fleet("sglang", settings), storage, logs)

    def sent(self, run: Run) -> Wire:
        """The kind of schema that goes out in a run with this row."""
        return "full" if self.wire == "full" else "bounded" if run.fleet.bounded else "light"


@dataclass(frozen=True)
class PydanticRun(Run):
    """A run whose wire schema is the profile's as pydantic prints it: what the guide's client sends."""

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The schema with its titles, descriptions, references, patterns and bounds."""
        return self.model.model_json_schema()


def parse_row(text: str, given: Mapping[str, Any], wire: Wire | None = None, chunks: int = 64) -> Row:
    """A row as the command line has it. What else is given holds for all rows, unless a row says otherwise."""
    scenario, *more = text.split("+")
    said = dict(map(parse_override, more))
    wire, chunks, path = said.pop("wire", wire), said.pop("chunks", chunks), said.pop("path", None)
    if wire not in (None, *get_args(Wire)):
        raise OperatorError(f"--scenario {text}: wire is one of {', '.join(get_args(Wire))}, not {wire!r}")
    if not (isinstance(chunks, int) and chunks > 0):
        raise OperatorError(f"--scenario {text}: chunks is a number above zero, not {chunks!r}")
    if path not in (None, *get_args(Path)):
        raise OperatorError(f"--scenario {text}: path is one of {', '.join(get_args(Path))}, not {path!r}")
    laid = {f"sglang.flags.{key}" if key in Flags.model_fields else key: value for key, value in said.items()}
    paths = cast(tuple[Path, ...], (path,) if path else get_args(Path))
    return Row(text, {**given, "sglang.scenario": scenario, **laid}, cast(Wire | None, wire), chunks, paths)
