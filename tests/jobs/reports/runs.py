"""Outputs of real runs that reports are made of, and documents that try to be more than text."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.reports import html_page as page_of
from tests.fakes.process import FakeServer
from tests.jobs.helpers import job, write

COLUMNS = ("document_id", "company_id", "text", "document_type", "document_date")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
SCRIPT = "<script>window.taken = true</script>"
ATTACKS = [
    SCRIPT,
    "</script><script>window.taken = true</script>",
    "<!-- <script> --> <img src=x onerror='window.taken = true'>",
    "]]> {{ 7 * 7 }} ${7 * 7} {% raw %} <%= 7 * 7 %>",
    "before\u2028after\u2029end",
    "\u202egnp.exe\u202c and \u2066isolated\u2069",
    "x" * 3_000,
    "&lt;b&gt; &amp;amp; &#60;script&#62;",
]
IDS = [
    "<b>bold</b>",
    f"\"'>{SCRIPT}",
    "nul\x00inside",
    "__proto__",
    "\u202ereversed",
    "#list",
    "long" * 100,
    "a b/c?d#e%20",
]


def text(company: int, number: int, more: str = "") -> str:
    """A document that the fake server finds values in."""
    year = 1900 + company
    return f"Northwind Works {company} makes pumps in Porto, Portugal, since {year}. Note {number}.{more}"


def documents() -> list[dict[str, Any]]:
    """Companies of two documents; characters beyond 16 bits; a long one; a fault; attacks as texts and as ids."""
    rows = [document(f"c{n // 2}", f"d{n}", text(n // 2, n)) for n in range(6)]
    elsewhere = text(40, 1).replace("Porto", "Coimbra")
    rows.append(document("emoji", "emoji-1", f"\U0001f3ed\U0001f1f5\U0001f1f9 {elsewhere} \U0001f600 done."))
    rows.append(document("long", "long-1", text(42, 1, "\n\nIt makes more pumps every year." * 400)))
    rows.append(document("fault", "fault-1", text(41, 1, " [[fault:invalid]]")))
    rows += [document(f"attack-{n}", f"attack-{n}", text(50 + n, n, f" {a} end")) for n, a in enumerate(ATTACKS)]
    rows += [document(name, name, text(70 + n, n)) for n, name in enumerate(IDS)]
    return [*rows, document("empty", "empty" + SCRIPT, " ")]


def document(company_id: str, document_id: str, said: str) -> dict[str, Any]:
    """A row of the input."""
    return {"document_id": document_id, "company_id": company_id, "text": said, "document_type": "registry"}


def run(folder: Path, rows: list[dict[str, Any]], *more: str) -> Path:
    """The output of a run over some documents."""
    source = write(folder / "in.parquet", rows, SCHEMA)
    with FakeServer() as server:
        assert job(source, folder / "out", server.url, "--set", "max_dead_fraction=1", *more) == 0
    assert (folder / "out" / page_of.REPORT).is_file()
    return folder / "out"
