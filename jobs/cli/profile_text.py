"""A profile as a terminal shows it: each field's value, the words that it stands in, and what else was said."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from extraction.chunking.originals import Original
from jobs.cli.summary import plain

INDENT = 4
CONTEXT = 60  # characters to either side of a value, where the terminal is wide enough
OTHERS_SHOWN = 5
Row = dict[str, Any]


def show_profile(out: Console, row: Row, documents: Sequence[Original]) -> None:
    """Print a published row. `documents` are its texts as far as they are at hand, for the words around values."""
    texts = {document.document_id: document for document in documents}
    count = len(row["documents"])
    out.print(Text.assemble((plain(row["company_id"]).plain, "bold"), (f"   {_counted(count, 'document')}", "dim")))
    conflicts = {conflict["field"]: conflict for conflict in row["conflicts"]}
    for name, values in groupby(row["evidence"], key=itemgetter("field")):
        _show_field(out, name, list(values), conflicts.get(name), texts)
    if row["chunks_missing"]:
        out.print()
        out.print(Text(f"{_counted(len(row['chunks_missing']), 'chunk')} missing", "bold yellow"))
        for missing in row["chunks_missing"]:
            _indented(out, Text(f"{missing['fault']}  {_where(missing)}"))


def _show_field(
    out: Console, name: str, values: Sequence[Row], conflict: Row | None, texts: Mapping[str, Original]
) -> None:
    chosen = [value for value in values if value["chosen"]]
    nothing = "" if chosen else "  nothing that is sure enough"
    out.print()
    out.print(Text.assemble((name, "cyan"), (nothing, "dim")))
    for value in chosen:
        support = _counted(value["support"], "document") if value["grounded"] else "in no document"
        support += _sure(value)
        _indented(out, Text.assemble((_readable(value["value"]), "bold"), (f"   {support}", "dim")))
        for place in value["places"]:
            _show_place(out, place, texts)
    if conflict:
        _show_conflict(out, conflict, texts)
    rivals = {rival["value"] for rival in conflict["alternatives"]} if conflict else set()
    _show_others(out, [value for value in values if not value["chosen"] and value["value"] not in rivals])


def _show_conflict(out: Console, conflict: Row, texts: Mapping[str, Original]) -> None:
    """What was decided against, and where it stands."""
    support = _counted(conflict["support"], "document")
    _indented(out, Text(f"documents disagree; decided by {conflict['rule']}, {support}, over", "yellow"))
    for rival in conflict["alternatives"]:
        newest = f", {rival['newest']}" if rival["newest"] else ""
        support = f"   {_counted(rival['support'], 'document')}{newest}"
        _indented(out, Text.assemble((_readable(rival["value"]), "yellow"), (support, "dim")), 2)
        if rival["place"]:
            _show_place(out, rival["place"], texts)


def _show_others(out: Console, others: Sequence[Row]) -> None:
    """What was given too: what stands in a document, and what in none and was kept out."""
    for grounded, label in ((True, "kept back"), (False, "kept out, in no document")):
        said = [_readable(value["value"]) + _sure(value) for value in others if value["grounded"] is grounded]
        if said:
            more = f" and {len(said) - OTHERS_SHOWN} more" if len(said) > OTHERS_SHOWN else ""
            _indented(out, Text(f"{label}: {'; '.join(said[:OTHERS_SHOWN])}{more}", "dim"))


def _sure(value: Row) -> str:
    """How sure a value is."""
    known = value["grounded"] and value.get("confidence") is not None
    return f", confidence {value['confidence']:.2f}" if known else ""


def _show_place(out: Console, place: Row, texts: Mapping[str, Original]) -> None:
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


def _where(place: Row) -> str:
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


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _indented(out: Console, text: Text, steps: int = 1) -> None:
    out.print(Padding(text, (0, 0, 0, INDENT * steps), expand=False))
