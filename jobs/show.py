"""Published companies in the terminal: a list of them, or one profile with its evidence.

    python jobs/show.py OUT                    a line a company; --search TEXT keeps those that hold it, case apart
    python jobs/show.py OUT COMPANY            each field with its value, where that stands, and what else was given
    python jobs/show.py OUT [COMPANY] --json   the same for machines: a line of JSON a company

Exit codes: 0 shown; 1 failed; 2 the operator's mistake, such as a company that is not there.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial, reduce
from itertools import islice
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz import process

from extraction.chunking.chunker import originals
from extraction.errors import OperatorError
from jobs.cli.command import command, enter
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import Positive, Published, WholeNumber, flag
from jobs.cli.terminal_output import console, profile_table, show_profile
from jobs.state.published_run import PublishedRun

ROWS_SHOWN_AT_ONCE = 500  # profiles read at a time
IDS_READ_AT_ONCE = 100_000
SUGGESTED, LEAST_LIKENESS = 3, 75  # of 100
HEAVY = ("evidence", "conflicts", "chunks_missing")  # which a list does without
ShownRow = dict[str, Any]


app = command("show.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    out: Published,
    company: Annotated[str | None, flag("a company_id: show its profile and evidence")] = None,
    /,
    *,
    search: Annotated[str | None, flag("only companies with this in an id or a value", metavar="TEXT")] = None,
    limit: Annotated[Positive, flag("companies to list (default: 20)")] = 20,
    skip: Annotated[WholeNumber, flag("leave out the first N")] = 0,
    as_json: Annotated[bool, flag("a line of JSON a company", name="--json")] = False,
) -> int:
    """One company, or a list."""
    if skip < 0:
        raise OperatorError(f"--skip {skip}: a number of companies is expected")
    published = PublishedRun.at(out, "OUT")
    if company is not None:
        show_one(published, company, as_json=as_json)
    else:
        show_some(published, search, skip, limit, as_json=as_json)
    return DONE


def show_one(published: PublishedRun, company_id: str, *, as_json: bool) -> None:
    """A profile with its evidence. Raises OperatorError where there is none."""
    row = _find(published, company_id)
    if as_json:
        print(json.dumps(row, ensure_ascii=False, default=str))
        return
    show_profile(console(), row, originals(published.chunks([company_id])))


def show_some(published: PublishedRun, search: str | None, skip: int, limit: int, *, as_json: bool) -> None:
    """Some companies, a line each, and how to see more."""
    companies = _listed(published, search)
    shown = list(islice(companies, skip, skip + limit))
    if as_json:
        for row in shown:
            print(json.dumps(row, ensure_ascii=False, default=str))
        return
    out = console()
    if not shown:
        more = f" behind the first {skip:,}" if skip else ""
        out.print(f"no company{more}" + (f" holds {search!r}" if search else ""))
        return
    out.print(profile_table(shown, published.schema(), out.width))
    if next(companies, None):
        of = "" if search else f" of {published.manifest.counts.companies:,}"
        out.print(f"{skip + 1:,} to {skip + len(shown):,}{of}, more with --skip {skip + len(shown)}", style="dim")


def _find(published: PublishedRun, company_id: str) -> ShownRow:
    for file in published.manifest.profiles:
        if not published.may_hold(file.path, [company_id]):
            continue
        for batch in published.storage.read_batches(file.path, ROWS_SHOWN_AT_ONCE):
            rows = batch.filter(pc.equal(batch["company_id"], company_id)).to_pylist()
            if rows:
                company: ShownRow = rows[0]
                return company
    ids = (
        each
        for file in published.manifest.profiles
        for batch in published.storage.read_batches(file.path, IDS_READ_AT_ONCE, ["company_id"])
        for each in batch["company_id"].to_pylist()
    )
    alike = [each for each, *_ in process.extract(company_id, ids, limit=SUGGESTED, score_cutoff=LEAST_LIKENESS)]
    hint = f": did you mean {' or '.join(alike)}?" if alike else ": --search TEXT finds others"
    raise OperatorError(f"COMPANY {company_id!r} has no profile in {published.storage.full('')}{hint}")


def _listed(published: PublishedRun, search: str | None) -> Iterator[ShownRow]:
    """Profiles without their evidence, in order; those that hold a text, where one is searched for."""
    for file in published.manifest.profiles:
        names = [name for name in published.storage.schema(file.path).names if name not in HEAVY]
        for table in published.storage.read_batches(file.path, ROWS_SHOWN_AT_ONCE, names):
            for batch in table.to_batches():
                rows = batch.to_struct_array()
                yield from (rows.filter(_holds(rows, search)) if search else rows).to_pylist()


def _holds(values: pa.Array, text: str) -> pa.Array:
    """Which values hold a text, in whatever part of them."""
    if pa.types.is_struct(values.type):
        parts = (_holds(pc.struct_field(values, [n]), text) for n in range(values.type.num_fields))
        return reduce(pc.or_, parts, pa.array([False] * len(values)))
    if pa.types.is_list(values.type):
        parents = pc.list_parent_indices(values).filter(_holds(values.flatten(), text))
        return pc.is_in(pa.array(range(len(values)), pa.int64()), value_set=parents.cast(pa.int64()))
    return pc.fill_null(pc.match_substring(values.cast(pa.string()), text, ignore_case=True), False)


if __name__ == "__main__":
    sys.exit(main())
