"""Running a backfill: partitions that are due are planned together, extracted in one stage, published one by one.

Extraction fills the ledger, which finds a result by what was asked; so one extract stage serves any number of
partitions, and its servers start once. A partition is published while the stage runs, as soon as all its chunks
have a result.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pyarrow as pa

from extraction.errors import OperatorError, RunError
from jobs.backfills.batches import Backfill, Batch
from jobs.backfills.budget import Budget, Spending, Stop, spent_before
from jobs.backfills.partition_run import EMPTY_PLAN, PartitionRun, now
from jobs.backfills.partition_state import PartitionRecord, PartitionStatus
from jobs.backfills.window import WINDOW, publish_window, window_due
from jobs.cli.command import LOG
from jobs.cli.exit_codes import DONE, FAILED, MISTAKE, OVER_BUDGET
from jobs.cli.progress import progress_of
from jobs.reports.lineage import LineageRun
from jobs.stages import extract, ray_cluster
from jobs.stages.cost_estimate import Spent
from jobs.stages.extract import Work
from jobs.stages.publish import too_many_dead_letters
from jobs.stages.run import Run, new_run_id
from jobs.stages.run_stats import RunStats
from jobs.state.lease import LeaseHeld, lease
from jobs.state.ledger import ChunkState, Index
from jobs.state.ledger_compaction import compact
from jobs.state.manifest import Manifest, read_manifest


def run_backfill(backfill: Backfill) -> int:
    """Run what is due, unless another run of the backfill is at work; the exit code."""
    try:
        with lease(backfill.whole.storage, backfill.whole.run_id):
            return BackfillRun(backfill).run()
    except LeaseHeld as other:
        LOG.print(f"backfill {backfill.declared.name}: another run is at work: {other}")
        return DONE


class BackfillRun:
    """One run of a backfill. Owns the queue of what is due: batches of partitions, and those that failed, alone.

    `ended` has the record of each partition that ended in this run, by path.
    """

    def __init__(self, backfill: Backfill) -> None:
        self.backfill, self.declared, self.whole = backfill, backfill.declared, backfill.whole
        before, price, gpus = spent_before(self.whole.storage), self.whole.settings.price, self.whole.fleet.gpus
        self.budget = Budget(self.declared.budgets, price, gpus, before, self.declared.deadline_s)
        self.spending = Spending(self.whole.storage, self.whole.run_id)
        self.ended: dict[str, PartitionRecord] = {}
        self.index = Index([])
        self._queue: deque[Sequence[PartitionStatus]] = deque()
        self._tries: Counter[str] = Counter()
        self._window_over_budget = False

    def run(self) -> int:
        """Run what is due; the exit code."""
        statuses = self.backfill.statuses()
        due = self.backfill.due(statuses)
        states = sorted(Counter(status.state for status in statuses).items())
        counts = ", ".join(f"{count:,} {state}" for state, count in states)
        LOG.print(f"backfill {self.declared.name}: {len(statuses):,} partitions ({counts or 'none in the window'})")
        window = self.declared.publish != "partition"
        if not due and not (window and self._window_due(statuses)):
            return DONE
        if self.whole.misfit:
            LOG.print(f"note     confidence is {self.whole.calibrated_for}")
        size = self.declared.concurrency
        self._queue += [due[n : n + size] for n in range(0, len(due), size)]
        ended = "failed"
        try:
            with ray_cluster.connected():
                ray_cluster.require_gpus(self.whole.fleet.gpus)
                self.index = compact(self.whole.ledger, self.whole.ledger.index())
                try:
                    self.budget.check()
                    while self._queue:
                        self._run_batch(self._queue.popleft())
                    ended = "done"
                except Stop as stop:
                    ended = str(stop)
                if window:
                    self._publish_window(statuses)
        except Stop as stop:
            ended = str(stop)
        finally:
            self.spending.save(self.budget.spent, ended)
            self._print_summary(len(due), ended)
        return self._exit_code()

    def _run_batch(self, statuses: Sequence[PartitionStatus]) -> None:
        """Plan partitions, ask for what they lack, publish them, and put back those that did not end."""
        self.budget.begin()
        again = any(status.path in self.ended for status in statuses)
        required = ChunkState.FAILED if again else self.backfill.required
        batch, rest = self.backfill.plan(statuses, self.index, required, self.budget)
        if rest:
            self._queue.appendleft(rest)
        requests = sum(partition.requests for partition in batch.partitions)
        LOG.print(f"plan     {len(batch.partitions):,} partitions, {requests:,} requests to make")
        error: Exception | None = None
        try:
            for partition in batch.partitions:
                if partition.error:
                    self._report(partition.fail(partition.error), partition.run)
            self._extract(batch)
            if self.budget.requests_left != 0 and any(not partition.record for partition in batch.partitions):
                raise RunError("the ledger lacks answers that were written to it: run again")
        except Stop:
            raise
        except Exception as failure:
            ours = ray_cluster.reason(failure)
            if isinstance(ours, OperatorError):
                raise ours from None
            LOG.print(f"broken   {ours or f'{type(failure).__name__}: {failure}'}")
            error = ours or failure
        finally:
            self.ended |= {partition.path: partition.record for partition in batch.partitions if partition.record}
        if error:  # what was answered before is not asked again
            self.index = self.whole.ledger.index(self.index)
        self._requeue(batch.partitions, error)

    def _extract(self, batch: Batch) -> None:
        """Ask for what all partitions of a batch lack, and publish each that is complete, now or meanwhile.

        Raises Stop at a limit of the budget, and what the extract stage raises.
        """
        files = tuple(f"{each.path}/{file}" for each in batch.partitions for file in each.planned.chunk_files)
        work = extract.work_of(batch.run, replace(EMPTY_PLAN, chunk_files=files), self.index, batch.required)
        work = _first(work, self.budget.requests_left)

        def count(stats: RunStats, results: pa.Table) -> None:
            hours, complete = self.budget.count(stats, results), False
            for partition, chunks, rows in batch.asking_for(results["chunk_id"]):
                own = results.take(pa.array(rows))
                partition.charge(own, Spent.on(own, hours * len(rows) / results.num_rows, self.budget.price))
                partition.left -= chunks
                complete |= partition.left == 0
            if complete:
                publish()
            self.spending.save(self.budget.spent)
            self.budget.check()

        stats = RunStats()
        try:
            with self._publisher(batch) as publish, progress_of(batch.run, work) as progress:
                extract.extract(batch.run, work, [progress.watch, count], self.budget.check_deadline, stats)
        finally:
            self.budget.settle(stats)

    @contextmanager
    def _publisher(self, batch: Batch) -> Iterator[Callable[[], Future[None]]]:
        """A thread that publishes what is complete: now, whenever it is asked to, and at the end.

        A suspect partition waits for the end, and is published only if the block did not fail.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        publish = partial(thread.submit, self._publish, batch)
        try:
            publish()
            yield publish
            publish(suspects=True).result()
        except Exception:
            publish().result()
            raise
        finally:
            thread.shutdown(cancel_futures=True)

    def _publish(self, batch: Batch, *, suspects: bool = False) -> None:
        """Publish the partitions that are complete, by the ledger as it is now."""
        complete = [each for each in batch.partitions if not each.record and not each.left]
        complete = [each for each in complete if suspects or not each.suspect]
        if not complete:
            return
        try:
            self.index = self.whole.ledger.index(self.index)
        except Exception as error:
            LOG.print(f"the ledger can't be read ({error}): nothing is published now")
            return
        for partition in complete:
            self._report(partition.publish(batch.index, self.index), partition.run)

    def _requeue(self, partitions: Sequence[PartitionRun], error: Exception | None) -> None:
        """Put back what is not done: suspects and what could not be published alone, the others together.

        Raises the error of a batch without suspects, once that was tried as often as may be.
        """
        left = [partition for partition in partitions if not partition.record]
        suspects = [partition for partition in left if error and partition.suspect]
        others = [partition for partition in left if partition not in suspects]
        alone = [*suspects, *(each for each in partitions if each.record and each.record.exit_code == FAILED)]
        broken = others if error and not suspects else []
        self._tries.update(partition.path for partition in [*broken, *alone])
        if error and any(self._tries[partition.path] >= self.declared.attempts for partition in broken):
            raise error
        if others:
            self._queue.appendleft([partition.status for partition in others])
        for partition in alone:
            if self._tries[partition.path] < self.declared.attempts:
                self._queue.append([partition.status])
            elif error and not partition.record:
                self.ended[partition.path] = partition.fail(error)
                self._report(self.ended[partition.path], partition.run)

    def _report(self, record: PartitionRecord, run: Run) -> None:
        """Send the events of a partition that has ended, unless it is published in the window alone."""
        if self.declared.publish == "window":
            return
        events = self.backfill.lineage
        event_run = LineageRun(self.declared.name, run, [self.declared.input], record.began_at)
        events.start(event_run)
        if record.counts:
            events.complete(event_run, record.counts)
        else:
            events.fail(event_run, record.error or "")

    def _window_due(self, statuses: Sequence[PartitionStatus]) -> bool:
        """Whether the published window is not that of the partitions as they are published now."""
        partitions = self._published(statuses)
        return bool(partitions) and window_due(self.backfill.window, partitions, self.backfill.recipe)

    def _publish_window(self, statuses: Sequence[PartitionStatus]) -> None:
        """Publish the window, unless it is as its partitions are or the deadline is near."""
        if not self._window_due(statuses):
            return
        self.budget.check_deadline()
        self.index = self.whole.ledger.index(self.index)
        partitions, window = self._published(statuses), replace(self.backfill.window, run_id=new_run_id())
        event_run = LineageRun(f"{self.declared.name}.{WINDOW}", window, [self.declared.input], now())
        with self.backfill.lineage.reported(event_run) as complete:
            shown = publish_window(window, self.whole.storage, partitions, self.backfill.recipe, self.index)
            complete(shown.counts)
        self._window_over_budget = too_many_dead_letters(window, shown.counts)
        LOG.print(
            f"published {WINDOW}: {len(partitions):,} partitions, {shown.counts.companies:,} companies, "
            f"{shown.counts.dead_documents:,} of {shown.counts.documents:,} documents dead",
        )

    def _published(self, statuses: Sequence[PartitionStatus]) -> dict[str, str]:
        """The run that each partition is published by, the oldest first; none where some were made by other
        settings, whose answers are not in this run's ledger."""
        published: dict[str, str] = {}
        others = 0
        for status in sorted(statuses, key=lambda each: (str(each.partition.day or ""), each.path)):
            made: PartitionRecord | Manifest | None = self.ended.get(status.path) or status.record
            if isinstance(made, PartitionRecord) and not made.published:
                made = read_manifest(self.whole.storage.under(status.path))
            if made:
                published[status.path] = made.run_id
                others += made.fingerprint != self.whole.fingerprint
        if others:
            LOG.print(
                f"note     {WINDOW}: it stays as it is until {others:,} partitions are made by these settings"
            )
        return {} if others else published

    def _exit_code(self) -> int:
        codes = {record.exit_code for record in self.ended.values()}
        if codes == {MISTAKE}:
            return MISTAKE
        if codes & {FAILED, MISTAKE}:
            return FAILED
        return OVER_BUDGET if OVER_BUDGET in codes or self._window_over_budget else DONE

    def _print_summary(self, due: int, ended: str) -> None:
        published = sum(record.published for record in self.ended.values())
        failed = {path: record.error for path, record in self.ended.items() if not record.published}
        spent, price = self.budget.spent, self.whole.settings.price
        cost = f", {spent.money:,.2f} {price.currency}" if price.known else ""
        hours = f", {spent.gpu_hours:,.2f} GPU-hours" if self.whole.fleet.gpus else ""
        stopped = "" if ended in ("done", "failed") else f"; stopped: {ended}, the next run goes on"
        LOG.print(
            f"backfill {self.declared.name}: {published:,} of {due:,} published, {len(failed):,} failed, "
            f"{due - published - len(failed):,} left; "
            f"{spent.requests:,} requests, {spent.tokens:,} tokens{hours}{cost}{stopped}",
        )
        for path, error in failed.items():
            LOG.print(f"failed   {path}: {error}")


def _first(work: Work, most: int) -> Work:
    """The first requests of some work."""
    rows, left = {}, most
    for path, numbers in work.rows.items():
        if left > 0:
            rows[path] = numbers[:left]
            left -= len(rows[path])
    return replace(work, rows=rows, missing=min(work.missing, most))
