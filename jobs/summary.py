"""What a person sees at the end: the profiles as a table, the counts, and where the files are."""

from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from extraction.rules import fields
from jobs.manifest import Manifest
from jobs.progress import Tally, clock
from jobs.storage import Storage

ROWS_SHOWN = 20
COLUMNS_SHOWN = 7
WORDS_SHOWN = 3


def show_profiles(console: Console, storage: Storage, manifest: Manifest, model: type[BaseModel]) -> None:
    """The first profiles. Columns hold facts alone: what stands in no document is evidence, not shown."""
    shown = fields(model)[:COLUMNS_SHOWN]
    table = Table(header_style="bold", pad_edge=False, box=None)
    table.add_column("company_id", style="dim", overflow="fold")
    for field in shown:
        table.add_column(field.path[-1], overflow="fold")
    rows = 0
    for file in manifest.profiles:
        for row in storage.read_table(file.path).to_pylist():
            if rows < ROWS_SHOWN:
                table.add_row(row["company_id"], *(_cell(row, field.path) for field in shown))
            rows += 1
        if rows >= ROWS_SHOWN:
            break
    console.print(table)
    if manifest.counts.companies > ROWS_SHOWN:
        console.print(f"... and {manifest.counts.companies - ROWS_SHOWN:,} more", style="dim")


def _cell(row: dict[str, Any], path: tuple[str, ...]) -> str:
    value: Any = row
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "[dim]-[/]"
    if isinstance(value, list):
        words = [next(iter(v.values())) if isinstance(v, dict) else v for v in value]
        more = f" +{len(words) - WORDS_SHOWN}" if len(words) > WORDS_SHOWN else ""
        return _plain(", ".join(map(str, words[:WORDS_SHOWN])) + more) or "[dim]-[/]"
    return _plain(str(value))


def _plain(text: str) -> str:
    """Text from documents as it is: no markup, no control characters."""
    return "".join(c if c.isprintable() else " " for c in text).replace("[", "\\[")


def show_counts(
    console: Console, storage: Storage, manifest: Manifest, tally: Tally, limit: int, seconds: float
) -> None:
    """The run in numbers, and where its files are."""
    counts, tokens = manifest.counts, manifest.tokens
    root = storage.full("")
    asked = counts.chunks_answered - counts.chunks_from_ledger
    lines = [
        ("documents", f"{counts.documents:,} in, {counts.companies:,} companies out, {counts.dead_letters:,} dead letters"),
        ("chunks", f"{counts.chunks:,}, {asked:,} answered now, {counts.chunks_from_ledger:,} from the ledger, "
                   f"{counts.chunks - counts.chunks_answered:,} missing"),
        ("tokens", f"{tokens.prompt:,} prompt ({tokens.cached:,} of them cached), {tokens.completion:,} output"),
        ("time", f"{clock(seconds)} in all" + (
            f", {clock(tally.seconds)} extracting with {tally.in_flight:.1f} of {limit} requests in flight a server"
            if tally.done else "")),
        ("profiles", ", ".join(f"{root}/{file.path}" for file in manifest.profiles[:3]) or "none"),
        ("dead letters", ", ".join(f"{root}/{file.path}" for file in manifest.dead_letters[:3]) or "none"),
        ("manifest", f"{root}/manifest.json"),
    ]  # fmt: skip
    grid = Table.grid(padding=(0, 2))
    for name, told in lines:
        grid.add_row(f"[bold]{name}[/]", _plain(told))
    console.print(grid)
