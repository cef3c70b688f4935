"""What commands print: profiles as a table, one profile with its evidence, counts."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from extraction.chunking.chunker import Original
from jobs.cli.command import PlainConsole
from jobs.cli.number_format import clock, plural
from jobs.stages.run import Run
from jobs.stages.run_stats import RunStats
from jobs.state.manifest import MANIFEST, Manifest
from jobs.state.parquet_schemas import OWN_COLUMNS
from jobs.state.publications import current_file
from jobs.state.storage import Storage

ROWS_SHOWN = 20
COLUMNS_SHOWN = 7
WIDTH_IN_LOGS = 160
WIDTH_OF_CELL, GAP = 30, 2
WORDS_SHOWN = 3
REASONS_SHOWN = 5
LETTERS_AT_ONCE = 100_000  # dead letters whose faults are counted together


def console() -> Console:
    """Standard output, as wide as a table needs where it is no terminal."""
    wide = PlainConsole()
    return wide if wide.is_terminal else PlainConsole(width=WIDTH_IN_LOGS)


def columns(left: Sequence[str], right: Sequence[str]) -> Table:
    """A table with columns of words, then columns of numbers."""
    table = Table(header_style="bold", pad_edge=False, box=None)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def add_row(table: Table, *cells: str, style: str | None = None) -> None:
    """Add a row to a table; its words may be those of documents."""
    table.add_row(*map(plain, cells), style=style)


def show_profiles(out: Console, storage: Storage, manifest: Manifest, schema: pa.Schema) -> None:
    """The first profiles, a line each."""
    rows: list[dict[str, Any]] = []
    for file in manifest.profiles:
        rows += storage.read_table(file.path).slice(0, ROWS_SHOWN - len(rows)).to_pylist()
        if len(rows) >= ROWS_SHOWN:
            break
    out.print(profile_table(rows, schema, out.width))
    if manifest.counts.companies > ROWS_SHOWN:
        out.print(f"... and {manifest.counts.companies - ROWS_SHOWN:,} more", style="dim")


def profile_table(rows: Sequence[dict[str, Any]], schema: pa.Schema, width: int) -> Table:
    """Profiles, a line each, with the first of their columns, as many as fit into a width beside whole ids. What
    the project adds to profiles is left out."""
    table = Table(header_style="bold", pad_edge=False, box=None)
    columns = [("company_id", [plain(row["company_id"]) for row in rows])]
    columns += [(path[-1], [_cell(row, path) for row in rows]) for path in islice(_leaves(schema), COLUMNS_SHOWN)]
    for number, (name, cells) in enumerate(columns):
        wide = min(WIDTH_OF_CELL, max([len(name), *(cell.cell_len for cell in cells)]))
        width -= wide + (GAP if number else 0)
        if number > 1 and width < 0:
            columns = columns[:number]
            break
        table.add_column(name, style="" if number else "dim", no_wrap=True, min_width=wide, max_width=wide)
    for line in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*line)
    return table


def _leaves(columns: Iterable[pa.Field], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of a profile's values in its columns."""
    for column in columns:
        path = (*above, column.name)
        if pa.types.is_struct(column.type) and path[0] not in OWN_COLUMNS:
            yield from _leaves(column.type, path)
        elif path[0] not in OWN_COLUMNS:
            yield path


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
    run: Run,
    manifest: Manifest,
    stats: RunStats,
    limit: int | None,
    seconds: float,
    report: str | None = None,
) -> None:
    """The run in numbers, and where its files and its report are; `limit` where all servers take as many requests
    at a time."""
    counts, tokens = manifest.counts, manifest.tokens
    root = run.storage.full("")
    asked = counts.chunks_answered - counts.chunks_from_ledger
    missing = counts.chunks - counts.chunks_answered
    of = f" of {limit}" if limit else ""
    extracting = f", {clock(stats.seconds)} extracting, {stats.in_flight:.1f}{of} requests in flight on a server"
    lines = [
        ("documents", f"{counts.documents:,} in, {counts.companies:,} companies out, "
                      f"{counts.dead_documents:,} dead{_why_dead(run.storage, manifest)}"),
        ("chunks", f"{counts.chunks:,}: {asked:,} answered now, {counts.chunks_from_ledger:,} from the ledger, "
                   f"{missing:,} missing"),
        ("tokens", f"{tokens.prompt:,} prompt ({tokens.cached:,} of them cached), {tokens.completion:,} output"),
        *([("refused", _refused(manifest.refused))] if manifest.refused else []),
        ("confidence", run.calibrated_for),
        ("time", clock(seconds) + (extracting if stats.done else "")),
        ("profiles", f"{root}/{current_file('profiles')}"),
        ("dead letters", f"{root}/{current_file('dead_letters')}"),
        ("manifest", f"{root}/{MANIFEST}"),
        *([("report", report)] if report else []),
    ]  # fmt: skip
    out.print()
    for name, text in lines:
        out.print(Text.assemble((f"{name:<13}", "bold"), text), soft_wrap=True)


def _why_dead(storage: Storage, manifest: Manifest) -> str:
    """The faults of dead documents in brackets, the most frequent first; nothing where none is dead."""
    faults = Counter[str]()
    for file in manifest.dead_letters:
        for table in storage.read_batches(file.path, LETTERS_AT_ONCE, ["fault", "documents"]):
            counted = table.group_by("fault").aggregate([("documents", "sum")]).to_pylist()
            faults.update({row["fault"]: row["documents_sum"] for row in counted})
    reasons = ", ".join(f"{faults[fault]:,} {fault}" for fault in sorted(faults, key=lambda f: (-faults[f], f)))
    return f" ({reasons})" if reasons else ""


def _refused(refused: Mapping[str, int]) -> str:
    """The values of replies that the profile model refused, the most frequent reasons first."""
    shown = "; ".join(f"{count:,} {reason}" for reason, count in list(refused.items())[:REASONS_SHOWN])
    more = f"; and {len(refused) - REASONS_SHOWN} more" if len(refused) > REASONS_SHOWN else ""
    return f"{sum(refused.values()):,} values that do not fit the profile model: {shown}{more}"


INDENT = 4
CONTEXT = 60  # characters to either side of a value, where the terminal is wide enough
OTHERS_SHOWN = 5
PrintedRow = dict[str, Any]


def show_profile(out: Console, row: PrintedRow, documents: Sequence[Original]) -> None:
    """Print a published row. `documents` are its texts as far as they are at hand, for the words around values."""
    texts = {document.document_id: document for document in documents}
    count = len(row["documents"])
    out.print(Text.assemble((plain(row["company_id"]).plain, "bold"), (f"   {plural(count, 'document')}", "dim")))
    conflicts = {conflict["field"]: conflict for conflict in row["conflicts"]}
    for name, values in groupby(row["evidence"], key=itemgetter("field")):
        _show_field(out, name, list(values), conflicts.get(name), texts)
    if row["chunks_missing"]:
        out.print()
        out.print(Text(f"{plural(len(row['chunks_missing']), 'chunk')} missing", "bold yellow"))
        for missing in row["chunks_missing"]:
            _indented(out, Text(f"{missing['fault']}  {_where(missing)}"))


def _show_field(
    out: Console,
    name: str,
    values: Sequence[PrintedRow],
    conflict: PrintedRow | None,
    texts: Mapping[str, Original],
) -> None:
    chosen = [value for value in values if value["chosen"]]
    held = any(value["grounded"] for value in values)
    nothing = "nothing that is sure enough" if held else "nothing that stands in a document"
    out.print()
    out.print(Text.assemble((name, "cyan"), ("" if chosen else f"  {nothing}", "dim")))
    for value in chosen:
        support = plural(value["support"], "document") if value["grounded"] else "the model's reading"
        support += _sure(value)
        _indented(out, Text.assemble((_readable(value["value"]), "bold"), (f"   {support}", "dim")))
        for place in value["places"]:
            _show_place(out, place, texts)
    if conflict:
        _show_conflict(out, conflict, texts)
    rivals = {rival["value"] for rival in conflict["alternatives"]} if conflict else set()
    _show_others(out, [value for value in values if not value["chosen"] and value["value"] not in rivals])


def _show_conflict(out: Console, conflict: PrintedRow, texts: Mapping[str, Original]) -> None:
    """What was decided against, and where it stands."""
    support = plural(conflict["support"], "document")
    newest = conflict["alternatives"][0]["newest"]  # of what is older the rule `latest` knows no conflict
    among = f" among the newest, of {newest}" if conflict["rule"] == "latest" and newest else ""
    _indented(out, Text(f"documents disagree; decided by vote{among}, {support}, over", "yellow"))
    for rival in conflict["alternatives"]:
        newest = f", {rival['newest']}" if rival["newest"] else ""
        support = f"   {plural(rival['support'], 'document')}{newest}"
        _indented(out, Text.assemble((_readable(rival["value"]), "yellow"), (support, "dim")), 2)
        if rival["place"]:
            _show_place(out, rival["place"], texts)


def _show_others(out: Console, others: Sequence[PrintedRow]) -> None:
    """What was given too: what stands in a document, and what in none and was kept out."""
    for grounded, label in ((True, "kept back"), (False, "kept out, in no document")):
        listed = [_readable(value["value"]) + _sure(value) for value in others if value["grounded"] is grounded]
        if listed:
            more = f" and {len(listed) - OTHERS_SHOWN} more" if len(listed) > OTHERS_SHOWN else ""
            _indented(out, Text(f"{label}: {'; '.join(listed[:OTHERS_SHOWN])}{more}", "dim"))


def _sure(value: PrintedRow) -> str:
    """How sure a value is."""
    known = value["grounded"] and value.get("confidence") is not None
    return f", confidence {value['confidence']:.2f}" if known else ""


def _show_place(out: Console, place: PrintedRow, texts: Mapping[str, Original]) -> None:
    width = max(10, min(CONTEXT, (out.width - 2 * INDENT - len(place["quote"]) - 4) // 2))
    document = texts.get(place["document_id"])
    around = document.around(place["start"], place["end"], width) if document else None
    before, quote, after = around or ("", place["quote"], "")
    if len(before) == width:
        before = "… " + before.partition(" ")[2]
    if len(after) == width:
        after = after.rpartition(" ")[0] + " …"
    words = Text.assemble(plain(before), (plain(quote).plain, "black on yellow"), plain(after))
    _indented(out, Text(_where(place), "dim"), 2)
    _indented(out, words, 2)


def _where(place: PrintedRow) -> str:
    return f"{plain(place['document_id'] or '?').plain} [{place['start']}:{place['end']}]"


def _readable(value: str) -> str:
    """A value's text; the parts of an item beside each other."""
    if value.startswith(("{", "[")):
        try:
            item = json.loads(value)
        except ValueError:
            return plain(value).plain
        parts = item.values() if isinstance(item, dict) else item
        return plain(" · ".join(str(part) for part in parts if part is not None)).plain
    return plain(value).plain


def _indented(out: Console, text: Text, steps: int = 1) -> None:
    out.print(Padding(text, (0, 0, 0, INDENT * steps), expand=False))
