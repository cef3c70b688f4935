"""The facts of a report, brought together from what a run left behind; what it did not leave is left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from extraction.config.settings import Confidence, Price
from extraction.merging.confidence import Bin, Calibration
from extraction.prompting.prompt import prompt_digest
from jobs.cli.number_format import clock, percent, plural, seconds, short
from jobs.reports import charts
from jobs.reports.company_sample import sample_companies
from jobs.reports.field_coverage import Coverage, coverage
from jobs.reports.flow_chart import Flow
from jobs.reports.request_stats import Answers, ServerWork, answers_of
from jobs.state import run_record
from jobs.state.manifest import Manifest
from jobs.state.published_run import PublishedRun
from jobs.state.run_record import RunRecord, ServerRecord

FAILURE_EXAMPLES = 3
LETTERS_SHOWN = 1_000
MEANINGS = {
    "missing_id": "the row has no document_id",
    "empty": "nothing to read in the text",
    "not_text": "the text is not valid UTF-8",
    "too_large": "larger than the limits allow",
    "duplicate_id": "the id stands for another text too",
    "unreadable": "a file or row group can't be read",
    "too_long": "more tokens than the server takes",
    "truncated": "the answer was cut off, in parts too",
    "repetition": "the answer repeats itself",
    "invalid": "the answer is no profile",
    "rejected": "the server refused the request",
    "no_company": "nothing about a company stands in it",
    "poison": "the server died of it, twice, alone",
    "unavailable": "no server could be reached; the next run asks again",
    "deadline": "no answer in time; the next run asks again",
    "aborted": "the server gave the request up; the next run asks again",
}


@dataclass
class Failures:
    """Documents that gave nothing, by stage and fault; a few of each as examples, more of them as a list."""

    by_class: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)
    letters: list[dict[str, str]] = field(default_factory=list)

    def of_stage(self, stage: str) -> int:
        """How many a stage gave up."""
        return sum(count for (named, _), count in self.by_class.items() if named == stage)

    @property
    def total(self) -> int:
        """All dead letters."""
        return self.by_class.total()


def failures(published: PublishedRun) -> Failures:
    """Count the dead letters of a run, and take some of each class."""
    failed = Failures()
    for file in published.manifest.dead_letters:
        table = published.storage.read_table(file.path)
        for stage, fault in _kinds_of_failure(table):
            rows = table.filter(pc.and_(pc.equal(table["stage"], stage), pc.equal(table["fault"], fault)))
            kind = stage, fault
            failed.by_class[kind] += pc.sum(rows["documents"]).as_py() or 0
            examples = failed.examples.setdefault(kind, [])
            examples += rows.slice(0, FAILURE_EXAMPLES - len(examples)).to_pylist()
        failed.letters += table.slice(0, LETTERS_SHOWN - len(failed.letters)).to_pylist()
    return failed


def _kinds_of_failure(table: pa.Table) -> list[tuple[str, str]]:
    kinds = table.group_by(["stage", "fault"]).aggregate([])
    return sorted(zip(kinds["stage"].to_pylist(), kinds["fault"].to_pylist(), strict=True))


SERVERS_SHOWN = 24
FILES_SHOWN = 12
Data = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A number that stands large at the top, and what it says."""

    name: str
    value: str
    caption: str


@dataclass(frozen=True)
class ServerGroup:
    """Servers that were started in the same way: how many, and what for."""

    servers: int
    name: str
    limit: int
    facts: Mapping[str, Any]
    start_s: float
    restarts: int


@dataclass(frozen=True)
class Sureness:
    """What a published fact had to have, the calibration that gave it if it was of the run's model, the share of
    the values in documents that was kept back, and whose labels the diagram is of."""

    least: str
    calibration: Calibration | None
    kept_back: float
    labelled: str


def report_facts(published: PublishedRun, max_bytes: int, reliability: Sequence[Bin] = ()) -> tuple[Data, Data]:
    """What the page's template shows, and the data of its viewer, of which `max_bytes` may be companies.
    `reliability` is that of the run, where its labels are known; else the calibration's is shown.
    """
    manifest = published.manifest
    run = run_record.read_run(published.storage, manifest.run_id)
    servers = run_record.read_servers(published.storage, manifest.run_id)
    answers, fields, failed = answers_of(published), coverage(published), failures(published)
    flow = Flow(manifest.counts, failed.of_stage("plan"), failed.total - failed.of_stage("plan"))
    shown = sample_companies(
        published,
        [field.name for field in fields.fields],
        {letter["document_id"] for letter in failed.letters if letter["stage"] != "plan"} - {None},
        max_bytes,
    )
    data = {
        "of": shown.of,
        "fields": [{"name": f.name, "rule": f.rule, "reading": f.reading} for f in fields.fields],
        "companies": shown.companies,
        "letters": [{**letter, "text": shown.dead.get(letter["document_id"])} for letter in failed.letters],
    }
    sure = _sureness(run, fields, own=bool(reliability))
    facts = {
        "manifest": manifest,
        "run": run,
        "flow": flow,
        "figures": _figures(manifest, run, answers, flow),
        "answers": answers,
        "charts": _charts(answers) | _reliability(sure, reliability),
        "sure": sure,
        "fields": fields,
        "failures": _classes(failed, answers, fields),
        "rows": _rows(servers),
        "servers": _servers(answers, servers),
        "servers_left": max(0, len(answers.servers) - SERVERS_SHOWN),
        "unit": charts.unit(answers.rate)[0],
        "settings": _settings(run),
        "shown": len(shown.companies),
        "files_shown": FILES_SHOWN,
    }
    return facts, data


def _sureness(run: RunRecord | None, fields: Coverage, *, own: bool) -> Sureness:
    settings = (
        Confidence.model_validate(run.settings["confidence"]) if run and "confidence" in run.settings else None
    )
    given = settings.calibration if settings else None
    calibration = (
        given
        if given
        and run
        and not given.fitted.misfit(
            model=run.model, profile=run.settings["profile"], prompt=prompt_digest(run.settings["prompt"])
        )
        else None
    )
    least = (settings or Confidence()).minima(calibration)
    facts_of = [field for field in fields.fields if not field.reading]
    grounded = sum(field.values + field.unsure for field in facts_of)
    labelled = (
        "labels of this run" if own else "labels that the calibration was fitted on, each kind left out in turn"
    )
    own_minima = (f"{name} {number:g}" for name, number in sorted(least.items()) if name != "default")
    shown = ", ".join([f"{least['default']:g}", *own_minima])
    return Sureness(shown, calibration, sum(f.unsure for f in facts_of) / max(1, grounded), labelled)


def _reliability(sure: Sureness, bins: Sequence[Bin]) -> dict[str, charts.Chart]:
    shown = bins or (sure.calibration.reliability if sure.calibration else ())
    return {"reliability": charts.reliability_chart(shown)} if shown else {}


def _figures(manifest: Manifest, run: RunRecord | None, answers: Answers, flow: Flow) -> list[Figure]:
    counts, dead = manifest.counts, flow.unread + flow.lost
    share = dead / max(1, counts.documents)
    allowed = run.settings.get("max_dead_fraction") if run else None
    alive = f"from {counts.documents - dead:,} of {counts.documents:,} documents"
    lost = f"{percent(share)} of documents" + (f", {percent(allowed)} allowed" if allowed is not None else "")
    figures = [Figure("Companies", f"{counts.companies:,}", alive), Figure("Dead documents", f"{dead:,}", lost)]
    if answers.done:
        figures.insert(1, _speed(answers))
        asked = answers.total("prompt_tokens")
        cached = answers.total("cached_tokens") / max(1, asked)
        total = asked + answers.total("completion_tokens")
        figures.insert(-1, Figure("Tokens", short(total), f"{percent(cached)} of the prompts from the cache"))
        late = f"95 % within {seconds(answers.quantile(0.95))}, waiting included"
        figures.insert(-1, Figure("Median answer", seconds(answers.quantile(0.5)), late))
        figures.insert(-1, _cost(manifest, run, answers))
    return figures


def _speed(answers: Answers) -> Figure:
    caption = f"{clock(answers.seconds)} on {plural(len(answers.servers), 'server')}"
    named, per_s = charts.unit(answers.rate)
    return Figure(f"Chunks {named}", short(per_s * answers.rate), caption)


def _cost(manifest: Manifest, run: RunRecord | None, answers: Answers) -> Figure:
    """What the run cost where prices are set, else the hours of its GPUs or servers."""
    gpus = run.gpus if run else 0
    known = run.server_hours if run else None
    hours = (answers.server_hours if known is None else known) * (gpus or 1)
    kind = "GPU time" if gpus else "Server time"
    lasted = clock(3600 * hours) if hours < 10 else f"{short(hours)} h"
    price = Price.model_validate(run.settings["price"]) if run and "price" in run.settings else Price()
    if not price.known:
        return Figure(kind, lasted, "no price was set")
    spent = price.of(
        gpu_hours=hours if gpus else 0.0,
        prompt_tokens=answers.total("prompt_tokens"),
        output_tokens=answers.total("completion_tokens"),
    )
    each = 1_000 * spent / max(1, manifest.counts.companies)
    caption = f"{lasted} of {kind}; {price.currency} {each:,.2f} for 1,000 companies"
    return Figure("Cost", f"{price.currency} {spent:,.2f}", caption)


def _charts(answers: Answers) -> dict[str, charts.Chart]:
    drawn = {"latency": charts.latency, "throughput": charts.throughput, "tokens": charts.tokens}
    return {name: draw(answers) for name, draw in drawn.items()} if answers.done else {}


def _classes(failed: Failures, answers: Answers, fields: Coverage) -> list[Data]:
    """Classes of failures, the most frequent first: dead letters, then chunks that profiles do without."""
    letters = [
        {"stage": stage, "fault": fault, "count": count, "what": "document" if count == 1 else "documents",
         "meaning": MEANINGS.get(fault, ""),
         "examples": [(letter["document_id"], letter["message"]) for letter in failed.examples[stage, fault]]}
        for (stage, fault), count in failed.by_class.most_common()
    ]  # fmt: skip
    missing = [
        {"stage": "extract", "fault": fault, "count": count,
         "what": f"chunk{'' if count == 1 else 's'} missing in profiles",
         "meaning": MEANINGS.get(fault, ""), "examples": [(None, m) for m in answers.examples.get(fault, [])]}
        for fault, count in fields.missing.most_common()
    ]  # fmt: skip
    return [*letters, *missing]


def _rows(servers: Sequence[ServerRecord]) -> list[ServerGroup]:
    """The servers by how they were started; the seconds are the longest start's."""
    groups: dict[str, list[ServerRecord]] = {}
    for server in servers:
        groups.setdefault(f"{server.name} {server.limit} {server.facts}", []).append(server)
    return [
        ServerGroup(
            len(group),
            group[0].name,
            group[0].limit,
            group[0].facts,
            max(server.start_s for server in group),
            sum(server.starts - 1 for server in group),
        )
        for group in sorted(groups.values(), key=len, reverse=True)
    ]


def _servers(answers: Answers, servers: Sequence[ServerRecord]) -> list[Data]:
    """The busiest servers: what each did."""
    known = {server.server: server for server in servers}

    def row_of(work: ServerWork) -> Data:
        done, lasted = work.answers + work.failed, max(work.last - work.first, 1e-9)
        started = known.get(work.server)
        return {
            **asdict(work),
            "rate": charts.unit(answers.rate)[1] * done / lasted,
            "tokens_per_s": (work.prompt_tokens + work.completion_tokens) / lasted,
            "cached": work.cached_tokens / max(1, work.prompt_tokens),
            "busy": work.in_flight / max(1, done),
            "limit": started.limit if started else None,
            "start_s": started.start_s if started and started.start_s >= 0.1 else None,
            "restarts": started.starts - 1 if started else None,
        }

    return [row_of(work) for work in answers.servers[:SERVERS_SHOWN]]


def _settings(run: RunRecord | None) -> dict[str, Any]:
    """The settings without the prompt, and the prompt."""
    if run is None:
        return {}
    rest = {key: value for key, value in run.settings.items() if key != "prompt"}
    return {"settings": rest, "prompt": run.settings.get("prompt")}
