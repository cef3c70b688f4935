"""A sweep: some partitions that are planned together, asked about at once, and published each for itself.

Extraction fills the ledger, whose answers are found by what was asked; so one extract stage serves any number of
partitions, and its servers start once. A partition needs its own plan and the ledger to be published, which happens
beside the stage as soon as the ledger knows all its chunks.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa

from jobs import extract
from jobs.backfills.budget import Budget, Spent
from jobs.backfills.publisher import Publisher
from jobs.backfills.share import NO_PLAN, Owners, Share
from jobs.backfills.standing import Standing
from jobs.cli.tally import Tally
from jobs.stages import cluster, intake, plan, pool
from jobs.stages.pool import Work
from jobs.state.digests import Digests
from jobs.state.index import Index, State
from jobs.state.run import Run

PLANNERS = 8  # partitions planned at a time
PLANNING = 0.25  # of the time that is left before a deadline
MOST_REQUESTS = 5_000_000  # of a sweep: the driver has some 60 bytes for each


class Sweep:
    """Partitions of one output, and what the ledger held of them before; chunks of which it has less than a state
    are asked about. `run` is over the whole output: its chunk files are those of all partitions."""

    def __init__(self, run: Run, recipe: str, budget: Budget, index: Index, least: State = State.SETTLED) -> None:
        self.run, self.recipe, self.budget, self.least = run, recipe, budget, least
        self.index = index
        self.shares: list[Share] = []
        self.owners = Owners([])

    @property
    def alive(self) -> list[Share]:
        """The shares that have come to no end yet."""
        return [share for share in self.shares if not share.record and not share.error]

    @property
    def suspects(self) -> list[Share]:
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

    def _plan(self, standing: Standing) -> Share:
        partition = standing.partition
        share = Share(standing, replace(self.run, storage=self.run.storage.under(partition.path)), self.recipe)
        try:
            found = intake.look_over(sorted(partition.files), self.run.settings.columns)
            share.planned = plan.plan(share.run, found)
            share.work = pool.work_of(share.run, share.planned, self.index, self.least)
            share.left = share.work.missing
        except Exception as error:
            share.error = cluster.reason(error) or error
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

        def count(_: Tally, answers: pa.Table) -> None:
            owner = self.owners.of(answers["chunk_id"])
            for number in np.unique(owner).tolist():
                rows = answers.filter(pa.array(owner == number))
                hours = self.budget.last.gpu_hours * rows.num_rows / answers.num_rows
                shares[number].take(rows, Spent.on(rows, hours, self.budget.price))
                if shares[number].left == 0:
                    publisher.look()

        try:
            with publisher, self.budget.in_time():
                extract.extract_all(self.run, work, [self.budget.count, count, *watches, self.budget.check])
        finally:  # what was answered before something broke is not asked again
            self.index = publisher.index

    def discard(self) -> None:
        """Delete the plans: nothing is asked."""
        for share in self.shares:
            dead = (file.path for file in share.planned.dead_letter_files)
            share.run.storage.delete([*share.planned.chunk_files, *dead])

    def _missing(self, work: Work) -> Digests:
        return work.ids[self.index.states(work.ids) < self.least]

    def _work(self, shares: Sequence[Share]) -> Work:
        """What is missing of all partitions, the first one's chunks first."""
        files = tuple(f"{share.path}/{path}" for share in shares for path in share.planned.chunk_files)
        return pool.work_of(self.run, replace(NO_PLAN, chunk_files=files), self.index, self.least)


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
