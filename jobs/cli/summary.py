"""What a person sees at the end: the profiles as a table, the counts, and where the files are."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from extraction.schema.fields import fields
from jobs.cli.tally import Tally, clock
from jobs.state.manifest import NAME as MANIFEST
from jobs.state.manifest import Manifest
from jobs.state.storage import Storage

ROWS_SHOWN = 20
COLUMNS_SHOWN = 7
WIDTH_IN_LOGS = 160
WIDTH_OF_CELL = 30
WORDS_SHOWN = 3


def console() -> Console:
    """Standard output, as wide as a table needs where it is no terminal."""
    wide = Console(highlight=False)
    return wide if wide.is_terminal else Console(highlight=False, width=WIDTH_IN_LOGS)


def show_profiles(out: Console, storage: Storage, manifest: Manifest, model: type[BaseModel]) -> None:
    """The first profiles, a line each."""
    rows: list[dict[str, Any]] = []
    for file in manifest.profiles:
        rows += storage.read_table(file.path).slice(0, ROWS_SHOWN - len(rows)).to_pylist()
        if len(rows) >= ROWS_SHOWN:
            break
    out.print(profile_table(rows, model))
    if manifest.counts.companies > ROWS_SHOWN:
        out.print(f"... and {manifest.counts.companies - ROWS_SHOWN:,} more", style="dim")


def profile_table(rows: Iterable[dict[str, Any]], model: type[BaseModel]) -> Table:
    """Profiles, a line each, the first of their columns. Cells are facts alone: what stands in no document is not
    shown."""
    shown = fields(model)[:COLUMNS_SHOWN]
    table = Table(header_style="bold", pad_edge=False, box=None)
    table.add_column("company_id", style="dim", no_wrap=True, max_width=WIDTH_OF_CELL)
    for field in shown:
        table.add_column(field.path[-1], no_wrap=True, min_width=len(field.path[-1]), max_width=WIDTH_OF_CELL)
    for row in rows:
        table.add_row(plain(row["company_id"]), *(_cell(row, field.path) for field in shown))
    return table


def _cell(row: dict[str, Any], path: tuple[str, ...]) -> Text:
    value: Any = row
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, list):
        words = [next(iter(v.values())) if isinstance(v, dict) else v for v in value]
        more = f" +{len(words) - WORDS_SHOWN}" if len(words) > WORDS_SHOWN else ""
        return plain(", ".join(map(str, words[:WORDS_SHOWN])) + more) if words else Text("-", style="dim")
    return plain(str(value))


def plain(text: str) -> Text:
    """Text from documents as it is: no markup, no control characters."""
    return Text("".join(c if c.isprintable() else " " for c in text))


def show_counts(
    out: Console,
    storage: Storage,
    manifest: Manifest,
    tally: Tally,
    limit: int | None,
    seconds: float,
    report: str | None = None,
) -> None:
    """The run in numbers, and where its files and its report are; `limit` where all servers take as many requests
    at a time."""
    counts, tokens = manifest.counts, manifest.tokens
    root = storage.full("")
    asked = counts.chunks_answered - counts.chunks_from_ledger
    missing = counts.chunks - counts.chunks_answered
    of = f" of {limit}" if limit else ""
    extracting = f", {clock(tally.seconds)} extracting, {tally.in_flight:.1f}{of} requests in flight a server"
    lines = [
        ("documents", f"{counts.documents:,} in, {counts.companies:,} companies out, {counts.dead_letters:,} dead"),
        ("chunks", f"{counts.chunks:,}: {asked:,} answered now, {counts.chunks_from_ledger:,} from the ledger, "
                   f"{missing:,} missing"),
        ("tokens", f"{tokens.prompt:,} prompt ({tokens.cached:,} of them cached), {tokens.completion:,} output"),
        ("time", clock(seconds) + (extracting if tally.done else "")),
        ("profiles", ", ".join(f"{root}/{file.path}" for file in manifest.profiles[:3]) or "none"),
        ("dead letters", ", ".join(f"{root}/{file.path}" for file in manifest.dead_letters[:3]) or "none"),
        ("manifest", f"{root}/{MANIFEST}"),
        *([("report", report)] if report else []),
    ]  # fmt: skip
    out.print()
    for name, told in lines:
        out.print(Text.assemble((f"{name:<13}", "bold"), told), soft_wrap=True)
