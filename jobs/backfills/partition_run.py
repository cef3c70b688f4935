"""One partition in a run of the backfill: its plan, its results so far, and the record of its end."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from extraction.errors import described_error, one_line
from jobs.backfills.partition_state import STATE_FILE, PartitionRecord, PartitionStatus, recipe_of
from jobs.cli.command import LOG
from jobs.cli.exit_codes import DONE, OVER_BUDGET, exit_code_of
from jobs.reports import html_page
from jobs.stages import publish, ray_cluster
from jobs.stages.circuit_breaker import GoneServers
from jobs.stages.cost_estimate import Spent
from jobs.stages.extract import Work
from jobs.stages.plan import Plan
from jobs.stages.run import Run
from jobs.state.ledger import ChunkState, Index, digests
from jobs.state.manifest import Counts, Tokens
from jobs.state.storage import suppress_outage

EMPTY_PLAN = Plan((), (), 0, 0, 0, True)
NO_WORK = Work({}, digests([]), 0)


def now() -> str:
    """The time as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass(eq=False)
class PartitionRun:
    """A partition in a batch.

    left: how many of the chunks that it asks for have no result yet.
    requests: how many requests are charged to it; `done` of them have a result, `failed` of these no profile, and
    `gone` of these none because their server was gone.
    record: how it ended; None while it has not.
    error: why it could not be planned.
    publishes: the declaration's `publish`.
    absent: columns that the settings name and its input has not, with what to say of them.
    """

    status: PartitionStatus
    run: Run
    publishes: str = "partition"
    began_at: str = field(default_factory=now)
    planned: Plan = EMPTY_PLAN
    work: Work = NO_WORK
    left: int = 0
    requests: int = 0
    done: int = 0
    failed: int = 0
    gone: GoneServers = field(default_factory=GoneServers)
    spent: Spent = field(default_factory=Spent)
    record: PartitionRecord | None = None
    error: Exception | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The partition's path."""
        return self.status.path

    @property
    def suspect(self) -> bool:
        """Whether so many of its requests failed that it would break a run of its own."""
        return self.failed > self.run.settings.breaker.failed_fraction * self.done

    def charge(self, results: pa.Table, spent: Spent) -> None:
        """Count results of its requests, and what they cost."""
        self.done += results.num_rows
        self.failed += results.num_rows - results["fault"].null_count
        self.gone.add(results)
        self.spent += spent

    def publish(self, before: Index, index: Index) -> PartitionRecord:
        """Publish it; the record of how that ended. `before` and `index` are the ledger's, before anything was
        asked and now."""
        spent = self.spent
        tokens = Tokens(prompt=spent.prompt_tokens, cached=spent.cached_tokens, completion=spent.output_tokens)
        try:
            self.gone.check(self.work.chunks, self.run.settings)
            self.run.record([self.path], None).write(self.run.storage, {})
            merge = self.publishes != "window"
            shown = publish.publish(self.run, self.planned, self.work, before, index, tokens, merge)
            code = OVER_BUDGET if publish.too_many_dead_letters(self.run, shown.counts) else DONE
            unanswered = int((index.states(self.work.ids) == ChunkState.RETRYABLE).sum())
            record = self._make_record(code, counts=shown.counts, unanswered=unanswered)
            self.run.storage.write_record(STATE_FILE, record)
        except Exception as error:
            return self.fail(error)
        self.record = record
        # An earlier run's; jobs/report.py writes one where it is wanted.
        self.run.storage.delete([html_page.REPORT])
        LOG.print(f"published {self.path}: {self._summary(shown.counts, code)}")
        return record

    def fail(self, error: Exception) -> PartitionRecord:
        """Record that it failed, and why; the record."""
        ours = ray_cluster.reason(error)
        message = one_line(str(ours)) if ours else described_error(error)
        LOG.print(f"failed   {self.path}: {message}")
        code = exit_code_of(ours or error)
        self.record = self._make_record(code, error=message[:1000])
        with suppress_outage():  # the next run finds it as it was before
            self.run.storage.write_record(STATE_FILE, self.record)
        return self.record

    def _make_record(self, exit_code: int, **more: Any) -> PartitionRecord:
        partition, last = self.status.partition, self.status.record
        recipe = recipe_of(self.run, self.publishes)
        again = last is not None and last.is_of(partition, recipe)
        return PartitionRecord(
            input=partition.digest,
            files=len(partition.files),
            bytes=partition.bytes,
            recipe=recipe,
            fingerprint=self.run.fingerprint,
            run_id=self.run.run_id,
            exit_code=exit_code,
            attempts=last.attempts + 1 if last and again else 1,
            spent=self.spent,
            began_at=self.began_at,
            ended_at=now(),
            **more,
        )

    def _summary(self, counts: Counts, exit_code: int) -> str:
        too_many = ", more than max_dead_fraction" if exit_code == OVER_BUDGET else ""
        return (
            f"{counts.documents:,} documents, {counts.companies:,} companies, "
            f"{counts.dead_documents:,} dead{too_many}, "
            f"{self.spent.requests:,} requests for {counts.chunks:,} chunks"
        )
