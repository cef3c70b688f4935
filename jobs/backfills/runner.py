"""Running a backfill: partitions that are due are planned together, extracted in one stage, published one by one.

Extraction fills the ledger, whose results are found by what was asked; so one extract stage serves any number of
partitions, and its servers start once. A partition needs its own plan and the ledger to be published, which happens
beside the stage as soon as the ledger knows all its chunks.
"""

import datetime
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from extraction.errors import OperatorError, RunError
from jobs.backfills.budget import Budget, Spending, Spent, Stop, spent_before
from jobs.backfills.config import Declaration
from jobs.backfills.partition_state import PartitionRecord, Standing, tally
from jobs.cli.command import DONE, FAILED, LOG, MISTAKE, OVER_BUDGET
from jobs.cli.progress import progress_of
from jobs.reports import page
from jobs.stages import extract, plan, publish, ray_cluster, read_input
from jobs.stages.extract import Work
from jobs.stages.plan import Plan
from jobs.stages.run import Run, new_run_id
from jobs.stages.run_stats import RunStats
from jobs.state.ledger import (
    ChunkState,
    Digests,
    Index,
    Ledger,
    RowNumbers,
    digests,
    find_ids,
    first_of_each,
    order,
)
from jobs.state.ledger_compaction import compact
from jobs.state.manifest import Counts, Tokens

NOTHING_SPENT, EMPTY_PLAN = Spent(), Plan((), (), 0, 0, 0, True)
NO_WORK = Work({}, digests([]), 0)


def now() -> str:
    """The time as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class PartitionRun:
    """A partition in a sweep. `left` is how many of its own requests have no answer yet, `done` how many have one,
    `failed` how many of these have no profile; `record` is what came of it, `error` why it could not be planned."""

    standing: Standing
    run: Run
    recipe: str
    began_at: str = field(default_factory=now)
    planned: Plan = EMPTY_PLAN
    work: Work = NO_WORK
    left: int = 0
    done: int = 0
    failed: int = 0
    spent: Spent = NOTHING_SPENT
    record: PartitionRecord | None = None
    error: Exception | None = None

    @property
    def path(self) -> str:
        """The partition's path."""
        return self.standing.partition.path

    @property
    def suspect(self) -> bool:
        """Whether so many of its answers failed that it would break a run."""
        return self.failed > self.run.settings.breaker.failed_fraction * self.done

    def take(self, answers: pa.Table, spent: Spent) -> None:
        """Count answers of its own, and what they took."""
        self.left -= answers.num_rows
        self.done += answers.num_rows
        self.failed += answers.num_rows - answers["fault"].null_count
        self.spent += spent

    def end(self, exit_code: int, **more: Any) -> None:
        """Keep what came of it, beside its manifest too."""
        partition, last = self.standing.partition, self.standing.record
        again = last is not None and (last.input, last.recipe) == (partition.digest, self.recipe)
        self.record = PartitionRecord(
            input=partition.digest,
            files=len(partition.files),
            bytes=partition.bytes,
            recipe=self.recipe,
            fingerprint=self.run.fingerprint,
            run_id=self.run.run_id,
            exit_code=exit_code,
            attempts=last.attempts + 1 if last and again else 1,
            spent=self.spent,
            began_at=self.began_at,
            ended_at=now(),
            **more,
        )
        self.record.write(self.run.storage)

    def fail(self, error: Exception) -> None:
        """Keep that it failed, and why."""
        ours = ray_cluster.reason(error)
        told = " ".join(str(ours or f"{type(error).__name__}: {error}").split())
        LOG.print(f"failed   {self.path}: {told}", markup=False)
        with suppress(OSError):  # the next tick finds it as it was before
            self.end(MISTAKE if isinstance(ours, OperatorError) else FAILED, error=told[:1000])


class Owners:
    """Whose each chunk of a sweep is: the first partition's that asks for it."""

    def __init__(self, missing: Sequence[Digests]) -> None:
        ids = np.concatenate([np.empty((0, 2), np.uint64), *missing])
        owners = np.repeat(np.arange(len(missing)), [len(some) for some in missing])
        once = first_of_each(ids)
        ids, owners = ids[once], owners[once]
        self.counts: RowNumbers = np.bincount(owners, minlength=len(missing))
        ordered = order(ids)
        self._ids, self._owners = ids[ordered], owners[ordered]

    def of(self, chunk_ids: pa.ChunkedArray) -> RowNumbers:
        """The owner's number for each of some chunks."""
        found = np.full(len(chunk_ids), -1)
        row, place = find_ids(self._ids, digests(chunk_ids.to_pylist()))
        found[row] = self._owners[place]
        return found


class Publisher:
    """Owns a thread that publishes what is complete: at once, whenever a share has become so, and at the end.

    One that is complete but for a chunk that another one asks about waits for that; one of whose answers so many
    failed that it would break a run, for the end of the stage. Chunks that are still to be asked again keep a share
    from being published.
    """

    def __init__(self, ledger: Ledger, before: Index, shares: Sequence[PartitionRun]) -> None:
        self._ledger, self._before, self.index = ledger, before, before
        self._waiting = list(shares)
        self._due = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")

    def __enter__(self) -> Self:
        self.look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave = error is not None and not isinstance(error, Exception)
        last = None if leave else self._thread.submit(self._finish, broken=error is not None)
        self._thread.shutdown(wait=True, cancel_futures=leave)
        if last and error is None:
            last.result()

    def look(self) -> None:
        """Publish shares of which nothing is left to be asked."""
        self._due = True
        self._thread.submit(self._look)

    def _look(self) -> None:
        if self._due:  # else an earlier look came late enough for this one
            self._due = False
            shares = [share for share in self._waiting if share.left == 0 and not share.suspect]
            if shares:
                self._publish_complete(shares)

    def _finish(self, *, broken: bool) -> None:
        self._publish_complete([share for share in self._waiting if not (broken and share.suspect)])

    def _publish_complete(self, shares: Sequence[PartitionRun]) -> None:
        """Publish those that the ledger completes, as it is now: the index knows it afterwards, too."""
        try:
            self.index = self._ledger.index(self.index)
        except Exception as error:
            LOG.print(f"the ledger can't be read ({error}): nothing is published now", markup=False)
            return
        for share in shares:
            if share.work.known_to(self.index, ChunkState.SETTLED if share.left else ChunkState.FAILED):
                self._waiting.remove(share)
                self._publish(share)

    def _publish(self, share: PartitionRun) -> None:
        tokens = Tokens(
            prompt=share.spent.prompt_tokens,
            cached=share.spent.cached_tokens,
            completion=share.spent.output_tokens,
        )
        try:
            shown = publish.publish(share.run, share.planned, share.work, self._before, self.index, tokens)
            code = OVER_BUDGET if publish.too_many_dead_letters(share.run, shown.counts) else DONE
            unanswered = int((self.index.states(share.work.ids) == ChunkState.FAILED).sum())
            share.end(code, counts=shown.counts, unanswered=unanswered)
        except Exception as error:
            share.fail(error)
            return
        page.leave_report(share.run.storage, shown)
        LOG.print(f"published {share.path}: {_told(share, shown.counts)}", markup=False)


def _told(share: PartitionRun, counts: Counts) -> str:
    too_many = ", more than max_dead_fraction" if share.record and share.record.exit_code == OVER_BUDGET else ""
    return (
        f"{counts.documents:,} documents, {counts.companies:,} companies, {counts.dead_letters:,} dead{too_many}, "
        f"{share.spent.requests:,} requests for {counts.chunks:,} chunks"
    )


PLANNERS = 8  # partitions planned at a time
PLANNING = 0.25  # of the time that is left before a deadline
MOST_REQUESTS = 5_000_000  # of a sweep: the driver has some 60 bytes for each


class PartitionBatch:
    """Partitions of one output, and what the ledger held of them before; chunks of which it has less than a state
    are asked about. `run` is over the whole output: its chunk files are those of all partitions."""

    def __init__(
        self, run: Run, recipe: str, budget: Budget, index: Index, least: ChunkState = ChunkState.SETTLED
    ) -> None:
        self.run, self.recipe, self.budget, self.least = run, recipe, budget, least
        self.index = index
        self.shares: list[PartitionRun] = []
        self.owners = Owners([])

    @property
    def alive(self) -> list[PartitionRun]:
        """The shares that have come to no end yet."""
        return [share for share in self.shares if not share.record and not share.error]

    @property
    def suspects(self) -> list[PartitionRun]:
        """Those of them of whose answers so many failed that it would break a run."""
        return [share for share in self.alive if share.suspect]

    def plan(self, standings: Sequence[Standing]) -> Sequence[Standing]:
        """Plan partitions while there is not enough to ask for; those that are left for another sweep."""
        most = min(MOST_REQUESTS, self.budget.requests_left or MOST_REQUESTS)
        until = PLANNING * (self.budget.seconds_left or 0)
        began = time.monotonic()
        with ThreadPoolExecutor(PLANNERS) as threads:
            while standings and sum(share.left for share in self.shares) < most:
                self.shares += threads.map(self._plan, standings[:PLANNERS])
                standings = standings[PLANNERS:]
                if until and time.monotonic() - began > until:
                    break
        self.owners = Owners([self._missing(share.work) for share in self.alive])
        for share, count in zip(self.alive, self.owners.counts.tolist(), strict=True):
            share.left = count
        return standings

    def _plan(self, standing: Standing) -> PartitionRun:
        partition = standing.partition
        share = PartitionRun(
            standing, replace(self.run, storage=self.run.storage.under(partition.path)), self.recipe
        )
        try:
            found = read_input.look_over(sorted(partition.files), self.run.settings.columns)
            share.planned = plan.plan(share.run, found)
            share.work = extract.work_of(share.run, share.planned, self.index, self.least)
            share.left = share.work.missing
        except Exception as error:
            share.error = ray_cluster.reason(error) or error
        return share

    def ask(self, watches: Sequence[extract.Watch] = ()) -> None:
        """Ask for what is missing of all of them, and publish each that is complete, now or meanwhile.

        Raises Stop at a limit of the budget, and what the extract stage raises; what is complete is published then,
        too.
        """
        for share in self.shares:
            if share.error:
                share.fail(share.error)
        shares = self.alive
        work = _first(self._work(shares), self.budget.requests_left)
        publisher = Publisher(self.run.ledger, self.index, shares)

        def count(_: RunStats, answers: pa.Table) -> None:
            owner = self.owners.of(answers["chunk_id"])
            for number in np.unique(owner).tolist():
                rows = answers.filter(pa.array(owner == number))
                hours = self.budget.last.gpu_hours * rows.num_rows / answers.num_rows
                shares[number].take(rows, Spent.on(rows, hours, self.budget.price))
                if shares[number].left == 0:
                    publisher.look()

        try:
            with publisher, self.budget.in_time(), progress_of(self.run, work) as progress:
                own = (progress.watch, self.budget.count, count)
                extract.extract(self.run, work, [*own, *watches, self.budget.check])
        finally:  # what was answered before something broke is not asked again
            self.index = publisher.index

    def discard(self) -> None:
        """Delete the plans: nothing is asked."""
        for share in self.shares:
            dead = (file.path for file in share.planned.dead_letter_files)
            share.run.storage.delete([*share.planned.chunk_files, *dead])

    def _missing(self, work: Work) -> Digests:
        return work.ids[self.index.states(work.ids) < self.least]

    def _work(self, shares: Sequence[PartitionRun]) -> Work:
        """What is missing of all partitions, the first one's chunks first."""
        files = tuple(f"{share.path}/{path}" for share in shares for path in share.planned.chunk_files)
        return extract.work_of(self.run, replace(EMPTY_PLAN, chunk_files=files), self.index, self.least)


def _first(work: Work, most: int | None) -> Work:
    """The first requests of some work."""
    if most is None or work.missing <= most:
        return work
    rows, left = {}, most
    for path, numbers in work.rows.items():
        if left > 0:
            rows[path] = numbers[:left]
            left -= len(rows[path])
    return replace(work, rows=rows, missing=most)


class BackfillRun:
    """Owns the queue of what is due: batches of partitions, and those that failed, each alone.

    `run` is over the whole output; each sweep is a run of its own.
    """

    def __init__(self, declared: Declaration, run: Run, recipe: str, *, retry_failed: bool = False) -> None:
        self.declared, self.whole, self.recipe, self.retry_failed = declared, run, recipe, retry_failed
        before, gpus = spent_before(run.storage), run.fleet.gpus
        self.budget = Budget(declared.budgets, run.settings.price, gpus, before, declared.deadline_s)
        self.spending = Spending(run.storage, run.run_id)
        self.ended: dict[str, PartitionRecord] = {}
        self.index: Index | None = None
        self._queue: deque[Sequence[Standing]] = deque()
        self._tries: Counter[str] = Counter()

    def run(self, found: Sequence[Standing], *, again: bool) -> int:
        """Do what is due; the exit code."""
        due = [one for one in found if one.due or again or (self.retry_failed and one.dead_letters)]
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(tally(found).items()))
        LOG.print(f"backfill {self.declared.name}: {len(found):,} partitions ({counts or 'none in the window'})")
        if not due:
            return DONE
        size = self.declared.concurrency
        self._queue += [due[n : n + size] for n in range(0, len(due), size)]
        ended = "failed"
        try:
            self.budget.check()
            with ray_cluster.connected():
                ray_cluster.require_gpus(self.whole.fleet.gpus)
                self._sweeps()
            ended = "done"
        except Stop as stop:
            ended = str(stop)
        finally:
            self.spending.save(self.budget.spent, ended)
            self._tell(len(due), ended)
        return self._exit_code()

    def _sweeps(self) -> None:
        while self._queue:
            self.budget.begin()
            if self.index is None:
                self.index = compact(self.whole.ledger, self.whole.ledger.index())
            this, least = replace(self.whole, run_id=new_run_id()), self._least
            sweep = PartitionBatch(this, self.recipe, self.budget, self.index, least)
            try:
                error = self._go(sweep, self._queue.popleft())
            finally:
                self.ended |= {share.path: share.record for share in sweep.shares if share.record}
            self.index = sweep.index
            self._put_back(sweep, error)

    @property
    def _least(self) -> ChunkState:
        """What is asked has less than this in the ledger; only the first sweep asks again for what failed."""
        return ChunkState.ANSWERED if self.retry_failed and not self.ended else ChunkState.SETTLED

    def _go(self, sweep: PartitionBatch, batch: Sequence[Standing]) -> Exception | None:
        """One sweep; what broke its extract stage, if anything did. Raises Stop, and the operator's mistakes."""
        left = sweep.plan(batch)
        if left:
            self._queue.appendleft(left)
        requests = sum(share.left for share in sweep.alive)
        LOG.print(f"plan     {len(sweep.shares):,} partitions, {requests:,} requests to make")
        try:
            sweep.ask([self._watch])
        except Stop:
            raise
        except Exception as error:
            ours = ray_cluster.reason(error)
            if isinstance(ours, OperatorError):
                raise ours from None
            LOG.print(f"broken   {ours or f'{type(error).__name__}: {error}'}", markup=False)
            return ours or error
        if sweep.alive and self.budget.requests_left != 0:
            return RunError("the ledger lacks answers that were written to it: run again")
        return None

    def _watch(self, _: RunStats, __: pa.Table) -> None:
        self.spending.save(self.budget.spent)

    def _put_back(self, sweep: PartitionBatch, error: Exception | None) -> None:
        """What is not done comes again: who may have broken the sweep alone, the others together.

        Raises the error of a sweep that nobody in particular broke, once it was tried as often as may be.
        """
        suspects = sweep.suspects if error else []
        paths = {share.path for share in suspects}
        others = [share for share in sweep.alive if share.path not in paths]
        if error and not suspects:
            self._tries.update(share.path for share in others)
            if any(self._tries[share.path] >= self.declared.attempts for share in others):
                raise error
        if others:
            self._queue.appendleft([share.standing for share in others])
        failed = [share for share in sweep.shares if share.record and share.record.exit_code == FAILED]
        for share in [*failed, *suspects]:
            self._tries[share.path] += 1
            if self._tries[share.path] < self.declared.attempts:
                self._queue.append([share.standing])
            elif error and not share.record:
                share.fail(error)
                self.ended |= {share.path: share.record} if share.record else {}

    def _exit_code(self) -> int:
        codes = {record.exit_code for record in self.ended.values()}
        if codes == {MISTAKE}:
            return MISTAKE
        if codes & {FAILED, MISTAKE}:
            return FAILED
        return OVER_BUDGET if OVER_BUDGET in codes else DONE

    def _tell(self, due: int, ended: str) -> None:
        published = sum(record.published for record in self.ended.values())
        failed = {path: record.error for path, record in self.ended.items() if not record.published}
        spent, price = self.budget.spent, self.whole.settings.price
        cost = f", {spent.money:,.2f} {price.currency}" if price.known else ""
        hours = f", {spent.gpu_hours:,.2f} GPU-hours" if self.whole.fleet.gpus else ""
        stopped = "" if ended in ("done", "failed") else f"; stopped: {ended}, the next tick goes on"
        LOG.print(
            f"backfill {self.declared.name}: {published:,} of {due:,} published, {len(failed):,} failed, "
            f"{due - published - len(failed):,} left; "
            f"{spent.requests:,} requests, {spent.tokens:,} tokens{hours}{cost}{stopped}",
            markup=False,
        )
        for path, error in failed.items():
            LOG.print(f"failed   {path}: {error}", markup=False)
