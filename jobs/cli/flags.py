"""Flags that several commands have, and the types and groups of flags."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number

from extraction.config.settings import parse_override
from extraction.errors import OperatorError

NOTHING: Mapping[str, Any] = {}
GROUPS = ("Documents", "Engine and settings", "Flags", "Help")  # in the order of --help
DOCUMENTS, ENGINE, FLAGS, HELP = (Group(name, sort_key=place) for place, name in enumerate(GROUPS))


def flag(text: str, **more: Any) -> Parameter:
    """A flag with its text in --help; `name` where it is not the variable's."""
    return Parameter(help=text, **more)


def _pairs(split: Callable[[str], tuple[str, Any]]) -> Parameter:
    """A flag that is given once for each key, its values split into key and value."""

    def convert(_: object, tokens: Sequence[Token]) -> dict[str, Any]:
        return dict(split(token.value) for token in tokens)

    return Parameter(accepts_keys=False, n_tokens=-1, converter=convert)


def _label_key(text: str) -> tuple[str, str]:
    field, equals, key = text.partition("=")
    if not (field and equals and key):
        raise OperatorError(f"--map {text}: FIELD=KEY is expected, such as city=location")
    return field, key


def _whole(_: object, tokens: Sequence[Token]) -> int:
    return int(tokens[0].value)  # the library's own conversion rounds 1.5 to 2


def write_file(path: Path, text: str, flag: str) -> None:
    """Write a file that a flag names, and the folders that it is in. Raises OperatorError where it can't be
    written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"{flag} {path} can't be written: {error.strerror}") from None


Name = Annotated[str, Parameter(metavar="NAME")]
FilePath = Annotated[Path, Parameter(metavar="FILE")]
WholeNumber = Annotated[int, Parameter(metavar="N", converter=_whole)]
Rate = Annotated[float, Parameter(metavar="X", validator=Number(gt=0))]
Positive = Annotated[WholeNumber, Parameter(validator=Number(gt=0))]
WholeNumbers = Annotated[Sequence[WholeNumber], Parameter(consume_multiple=(1, None))]
Overrides = Annotated[Mapping[str, Any], _pairs(parse_override), Parameter(metavar="KEY=VALUE")]

INPUTS = "Parquet file, folder, glob or URL; may be given again"
LEDGER = "folder or URL of a ledger that several outputs share (default: work/ledger in the output)"
IN_TABLES = """table that holds what is published, too: iceberg:///FOLDER/NAMESPACE.TABLE,
    iceberg://CATALOG/NAMESPACE.TABLE or delta://PATH-OR-URL; may be given again"""
Inputs = Annotated[list[str], flag(INPUTS, metavar="PATH", group=DOCUMENTS)]
Folder = Annotated[str, Parameter(metavar="DIR", group=DOCUMENTS)]
OutputFolder = Annotated[Folder, flag("folder or URL for the profiles, the manifest and the ledger")]
LedgerFolder = Annotated[Folder | None, flag(LEDGER)]
OutputTables = Annotated[tuple[str, ...], flag(IN_TABLES, metavar="TABLE", group=DOCUMENTS, name="--output-table")]

LABEL_KEYS = "the label's key for a profile field, where they differ: city=location"
Published = Annotated[str, flag("an output folder or URL of extract.py", metavar="OUT")]
LabelKeys = Annotated[Mapping[str, str], _pairs(_label_key), flag(LABEL_KEYS, name="--map", metavar="FIELD=KEY")]
ProfileModel = Annotated[
    str | None, flag("the pydantic model of a profile, in a folder of PYTHONPATH", metavar="MODULE:MODEL")
]
NumbersFile = Annotated[FilePath | None, flag("where to write the numbers", name="--json")]
EngineChoice = Literal["auto", "sglang", "llamacpp", "endpoint"]


@Parameter("*", group=ENGINE)
@dataclass(frozen=True, kw_only=True)
class EngineFlags:
    """The flags for how to extract."""

    config: Annotated[
        FilePath | None, flag("settings (default: configs/demo.yaml for llamacpp, else configs/extract.yaml)")
    ] = None
    engine: Annotated[
        EngineChoice, flag("auto: endpoint with --endpoint, else sglang where there is a GPU, else llamacpp")
    ] = "auto"
    endpoint: Annotated[str | None, flag("an OpenAI-compatible server, for --engine endpoint", metavar="URL")] = (
        None
    )
    model: Annotated[Name | None, flag("the model's name, or the path of its files")] = None
    schema: ProfileModel = None
    scenario: Annotated[Name | None, flag("row of configs/scenarios.yaml, or auto")] = None
    set: Annotated[
        Overrides, flag("a setting, such as limits.max_chunk_tokens=8000; docs/configuration.md has all keys")
    ] = field(default_factory=dict)


AUTOMATIC = EngineFlags()
