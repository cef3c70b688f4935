"""The page: facts and a sample in one file that stands alone.

Nothing in a document can become markup or script: all text goes through Jinja's escaping or into a block of JSON
in which no `<` is left, and the policy in the page's head lets only its own script and style work, and no request
leave.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from extraction.errors import described_error
from extraction.merging.confidence import Bin
from jobs.cli.command import LOG
from jobs.cli.number_format import clock, percent, seconds, short, visible_text
from jobs.reports.report_data import report_facts
from jobs.state.manifest import Manifest
from jobs.state.published_run import PublishedRun
from jobs.state.storage import Storage

ASSETS = Path(__file__).parent / "assets"
STYLES = ("report.css", "viewer.css")
SCRIPTS = ("text.js", "viewer.js", "document.js", "report.js")


def render_page(facts: Mapping[str, Any], data: Mapping[str, Any]) -> bytes:
    """The page's bytes."""
    style = "\n".join((ASSETS / name).read_text("utf-8") for name in STYLES)
    script = "\n".join((ASSETS / name).read_text("utf-8") for name in SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template("report.html")
    text = page.render(
        **facts, policy=policy, style=Markup(style), script=Markup(script), data=Markup(embedded(data))
    )
    return text.encode("utf-8", errors="replace")


def embedded(data: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment or another."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", errors="backslashreplace").decode()  # a lone surrogate becomes its JSON escape


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": lambda number: f"{number:,}",
        "short": short,
        "percent": percent,
        "clock": clock,
        "seconds": seconds,
        "yaml": lambda value: yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100),
        "visible": visible_text,
    }
    return made


REPORT = "report.html"


MAX_BYTES = 7_500_000  # bytes of companies in a page


def write_report(published: PublishedRun, reliability: Sequence[Bin] = ()) -> None:
    """Put the report in place."""
    facts, data = report_facts(published, MAX_BYTES, reliability)
    published.storage.write(REPORT, render_page(facts, data))


def leave_report(storage: Storage, manifest: Manifest) -> str | None:
    """The path of a run's report; None where it could not be written, which no run fails of."""
    try:
        write_report(PublishedRun(storage, manifest))
    except Exception as error:
        LOG.print(f"report   could not be written: {described_error(error)}")
        return None
    return storage.full(REPORT)
