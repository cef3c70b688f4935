"""Fit how sure a value is: signals of published answers against labels, written as a calibration for settings.

    python jobs/calibrate.py --profiles OUT --labels FILE --output configs/calibration/my-model.yaml

A kind of documents (`document_type`) is left out of the fit in turn, where there are three or more: the printed
table and `min_confidence` are of values that the fit did not see. Nothing is asked of a model.

Exit codes: 0 written; 1 failed; 2 the operator's mistake, such as too few labels.
"""

import datetime
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import BaseModel

from extraction.config.settings import profile_model
from extraction.errors import OperatorError
from extraction.evaluation.calibration import (
    Judged,
    LabelledCompany,
    calibration_error,
    fit_calibration,
    reliability_bins,
)
from extraction.evaluation.labels import Labels, load_labels
from extraction.merging.confidence import Calibration, Fitted, minimum_of
from extraction.prompting.prompt import prompt_digest
from extraction.schema.profile_model import facts
from extraction.settings_base import dump_yaml
from jobs.cli.command import command, enter
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import NOTHING, FilePath, LabelKeys, ProfileModel, Published, flag, write_file
from jobs.cli.terminal_output import add_row, columns, console
from jobs.stages.reduce import seen_in
from jobs.state import run_record
from jobs.state.published_run import NO_KIND, PublishedRun
from jobs.state.storage import batched_by

CHUNKS_READ_TOGETHER = 2_000
HEAD = "# Fitted by jobs/calibrate.py; extraction/merging/confidence.py says what the numbers are.\n"


app = command("calibrate.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    *,
    profiles: Published,
    labels: Annotated[FilePath, flag("as evaluate.py takes them")],
    label_keys: LabelKeys = NOTHING,
    schema: ProfileModel = None,
    precision: Annotated[float, flag("of what is published (default: 0.95)", metavar="P")] = 0.95,
    output: Annotated[FilePath | None, flag("write the calibration there")] = None,
    json_file: Annotated[FilePath | None, flag("write every value as it was judged there", name="--json")] = None,
) -> int:
    """Read answers and labels, fit, print and write."""
    if not 0 < precision < 1:
        raise OperatorError(f"--precision {precision:g}: a number between 0 and 1 is expected")
    published = PublishedRun.at(profiles)
    model = profile_model(schema) if schema else published.model()
    companies = read_companies(published, model, load_labels(labels, label_keys))
    try:
        calibration, judged = fit_calibration(model, companies, _fitted(published, companies), precision)
    except ImportError:
        raise OperatorError(
            "scikit-learn is not installed: install the project with its `calibrate` extra"
        ) from None
    show_calibration(calibration, judged)
    if output:
        write_file(output, HEAD + dump_yaml(calibration.model_dump(mode="json")), "--output")
    if json_file:
        write_file(json_file, json.dumps([vars(one) for one in judged]) + "\n", "--json")
    return DONE


def read_companies(published: PublishedRun, model: type[BaseModel], labels: Labels) -> list[LabelledCompany]:
    """The labelled companies of a run with what their answers say. Raises OperatorError where none was read."""
    fields = [field for field in facts(model) if labels.key(field)]
    planned = {c: ids for c, ids in published.planned().items() if c in labels.companies}
    if not planned or not fields:
        raise OperatorError(
            "no labelled company stands in the run's plan under a field that has labels: check company_id and --map"
        )
    companies = {company_id: LabelledCompany(company_id, NO_KIND, 0) for company_id in sorted(planned)}
    kinds = published.kinds()
    documents: dict[str, set[str]] = {company_id: set() for company_id in companies}
    for company_id, company in companies.items():
        known = {field.name: labels.label(company_id, field) for field in fields}
        company.labels = {name: label for name, label in known.items() if label is not None}
    for batch in batched_by(sorted(companies), lambda company_id: len(planned[company_id]), CHUNKS_READ_TOGETHER):
        answers = published.answers([chunk_id for company_id in batch for chunk_id in planned[company_id]])
        by_chunk = {row["chunk_id"]: row for row in answers.to_pylist() if row["replies"]}
        for chunk in published.chunks(batch):
            company_id = chunk.company_id
            documents[company_id] |= {piece.document_id for piece in chunk.pieces}
            if chunk.chunk_id in by_chunk:
                seen = seen_in(model, chunk, by_chunk[chunk.chunk_id])
                companies[company_id].seen += [(chunk.chunk_id, one) for one in seen]
    for company_id, company in companies.items():
        company.kind = kinds.get(company_id, NO_KIND)
        company.documents = len(documents[company_id])
    return list(companies.values())


def _fitted(published: PublishedRun, companies: Sequence[LabelledCompany]) -> Fitted:
    run = run_record.read_run(published.storage, published.manifest.run_id)
    if run is None:
        folder = published.storage.full(run_record.folder_of(published.manifest.run_id))
        raise OperatorError(f"{folder} has no run.json, which says what prompt the run had: publish it again")
    return Fitted(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        model=published.manifest.versions.get("model", ""),
        profile=published.manifest.profile,
        prompt=prompt_digest(run.settings.get("prompt")),
        documents=sum(company.documents for company in companies),
        companies=len(companies),
        values=0,
    )


def show_calibration(calibration: Calibration, judged: Sequence[Judged]) -> None:
    """For each kind what is published at the calibration's own threshold, and how well confidence holds."""
    out, minima = console(), calibration.min_confidence
    table = columns(["left out"], ["values", "right", "published", "precision", "of the right", "ECE"])
    for kind in [*sorted({one.kind for one in judged}), "all"]:
        some = [one for one in judged if kind in (one.kind, "all")]
        kept = [one for one in some if one.confidence >= minimum_of(minima, one.field)]
        right = sum(one.right for one in some)
        right_kept = sum(one.right for one in kept)
        add_row(
            table,
            kind,
            f"{len(some):,}",
            _share(right, len(some)),
            f"{len(kept):,}",
            _share(right_kept, len(kept)),
            _share(right_kept, right),
            f"{calibration_error(reliability_bins(some)):.3f}",
            style="bold" if kind == "all" else None,
        )
    out.print(table)
    shown = ", ".join(f"{name} {least:g}" for name, least in minima.items())
    out.print(f"min_confidence: {shown}, for a precision of {calibration.precision:g}")


def _share(above: int, below: int) -> str:
    return f"{above / below:.3f}" if below else "-"


if __name__ == "__main__":
    sys.exit(main())
