"""A tick of a backfill: sweep after sweep, until all that is due is done or all that may be spent is."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from extraction.errors import OperatorError, RunError
from jobs.backfills.budget import Budget, Stop
from jobs.backfills.declaration import Declaration
from jobs.backfills.spending import Spending, spent_before
from jobs.backfills.standing import Record, Standing, tally
from jobs.backfills.sweep import Sweep
from jobs.cli.command import DONE, FAILED, LOG, MISTAKE, OVER_BUDGET
from jobs.cli.tally import Tally
from jobs.stages import cluster
from jobs.state.compaction import compact
from jobs.state.index import Index, State
from jobs.state.run import Run, new_run_id


class Tick:
    """Owns the queue of what is due: batches of partitions, and those that failed, each alone.

    `run` is over the whole output; each sweep is a run of its own.
    """

    def __init__(self, declared: Declaration, run: Run, recipe: str, *, retry_failed: bool = False) -> None:
        self.declared, self.whole, self.recipe, self.retry_failed = declared, run, recipe, retry_failed
        before, gpus = spent_before(run.storage), run.fleet.gpus
        self.budget = Budget(declared.budgets, run.settings.price, gpus, before, declared.deadline_s)
        self.spending = Spending(run.storage, run.run_id)
        self.ended: dict[str, Record] = {}
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
            with cluster.connected():
                cluster.require_gpus(self.whole.fleet.gpus)
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
            sweep = Sweep(this, self.recipe, self.budget, self.index, least)
            try:
                error = self._go(sweep, self._queue.popleft())
            finally:
                self.ended |= {share.path: share.record for share in sweep.shares if share.record}
            self.index = sweep.index
            self._put_back(sweep, error)

    @property
    def _least(self) -> State:
        """What is asked has less than this in the ledger; only the first sweep asks again for what failed."""
        return State.ANSWERED if self.retry_failed and not self.ended else State.SETTLED

    def _go(self, sweep: Sweep, batch: Sequence[Standing]) -> Exception | None:
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
            ours = cluster.reason(error)
            if isinstance(ours, OperatorError):
                raise ours from None
            LOG.print(f"broken   {ours or f'{type(error).__name__}: {error}'}", markup=False)
            return ours or error
        if sweep.alive and self.budget.requests_left != 0:
            return RunError("the ledger lacks answers that were written to it: run again")
        return None

    def _watch(self, _: Tally, __: pa.Table) -> None:
        self.spending.save(self.budget.spent)

    def _put_back(self, sweep: Sweep, error: Exception | None) -> None:
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
