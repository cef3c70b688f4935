"""Publishing: reduce, check that every document is accounted for, replace the manifest, commit to tables."""

import datetime
import platform

from extraction.errors import RunError
from jobs.stages import extract, plan, reduce
from jobs.stages.engines import version_of
from jobs.stages.run import Run
from jobs.state import output_table, publications
from jobs.state.ledger import Index
from jobs.state.manifest import MANIFEST, Counts, Manifest, Tokens, read_manifest
from jobs.state.parquet_schemas import profile_schema
from jobs.state.storage import Written, is_outage


def publish(
    run: Run,
    planned: plan.Plan,
    work: extract.Work,
    before: Index,
    index: Index,
    tokens: Tokens,
    merge: bool = True,
) -> Manifest:
    """Merge, check that every document is accounted for, and publish. `before` and `index` are the ledger's, before
    anything was asked and now. Without `merge` the manifest says what was planned and answered, and there are no
    profiles."""
    if not work.known_to(index):
        raise RunError("the ledger lacks answers that were written to it: nothing is published, run again")
    alive = planned.documents - planned.dead_documents
    reduced = reduce.reduce(run, planned, index) if merge else reduce.Reduced((), (), alive, 0, {})
    dead_letters = (*planned.dead_letter_files, *reduced.dead_letters)
    dead_documents = planned.dead_documents + reduced.dead_documents
    accounted = reduced.in_profiles + dead_documents
    if accounted != planned.documents:
        raise RunError(
            f"{planned.documents:,} documents went in and {accounted:,} came out: nothing is published, "
            "the ledger is kept. Please report this"
        )
    counts = Counts(
        documents=planned.documents,
        chunks=work.chunks,
        chunks_answered=work.answered_of(index),
        chunks_from_ledger=work.answered_of(before),
        companies=sum(file.rows for file in reduced.profiles),
        dead_letters=sum(file.rows for file in dead_letters),
        dead_documents=dead_documents,
    )
    published = replace_manifest(run, counts, tokens, planned.notes, reduced, dead_letters)
    if merge:
        finish_publication(run, published)
    else:
        publications.delete_old(run.storage, published)
        run.storage.delete_folder(publications.CURRENT)
    return published


def finish_publication(run: Run, published: Manifest) -> None:
    """Bring `current/` and the tables to what is published, and delete what is old."""
    schema = profile_schema(run.model)
    try:
        publications.renew_current(run.storage, published, schema)
    except Exception as error:
        if not is_outage(error):
            raise
        raise RunError(
            f"published, but {run.storage.full(publications.CURRENT)} is still the run before: {error}. Run again"
        ) from None
    for table in run.tables:
        output_table.commit_table(table, run.storage, published, schema)
    publications.delete_old(run.storage, published)


def replace_manifest(
    run: Run,
    counts: Counts,
    tokens: Tokens,
    notes: tuple[str, ...],
    reduced: reduce.Reduced,
    dead_letters: tuple[Written, ...],
) -> Manifest:
    """Replace the manifest: from here on readers see this run."""
    last = read_manifest(run.storage)
    if last and last.run_id[:16] > run.run_id[:16]:  # it has deleted what this run had written so far
        raise RunError(f"run {last.run_id}, which began later, has published meanwhile: run again")
    previous = (last.run_id, *last.previous) if last else ()
    published = Manifest(
        run_id=run.run_id,
        fingerprint=run.fingerprint,
        ledger=run.ledgers.url if run.ledgers else None,
        profile=run.settings.profile,
        columns=run.settings.columns,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        attempt=1 + publications.unpublished(run.storage, last, run.run_id),
        previous=previous[: run.settings.publications.keep - 1],
        counts=counts,
        tokens=tokens,
        refused=reduced.refused,
        profiles=reduced.profiles,
        dead_letters=dead_letters,
        notes=notes,
        versions=_versions(run),
    )
    run.storage.write_record(MANIFEST, published)
    return published


def _versions(run: Run) -> dict[str, str]:
    packages = ("company-profiles", "ray", "pyarrow", "openai", "pydantic")
    installed = {package: version_of(package) for package in packages}
    return {"python": platform.python_version(), **installed, "engine": run.fleet.version, "model": run.fleet.model}


def too_many_dead_letters(run: Run, counts: Counts) -> bool:
    """Whether more documents of a published run are dead than its settings allow."""
    return counts.dead_documents > run.settings.max_dead_fraction * max(1, counts.documents)
