"""The publisher: partitions of a sweep are reduced and published as they become complete, beside extraction."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from jobs import extract, report
from jobs.backfills.share import Share
from jobs.cli.command import LOG, OVER_BUDGET
from jobs.state.index import Index, State
from jobs.state.ledger import Ledger
from jobs.state.manifest import Counts, Tokens


class Publisher:
    """Owns a thread that publishes what is complete: at once, whenever a share has become so, and at the end.

    One that is complete but for a chunk that another one asks about waits for that; one of whose answers so many
    failed that it would break a run, for the end of the stage. Chunks that are still to be asked again keep a share
    from being published.
    """

    def __init__(self, ledger: Ledger, before: Index, shares: Sequence[Share]) -> None:
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

    def _publish_complete(self, shares: Sequence[Share]) -> None:
        """Publish those that the ledger completes, as it is now: the index knows it afterwards, too."""
        try:
            self.index = self._ledger.index(self.index)
        except Exception as error:
            LOG.print(f"the ledger can't be read ({error}): nothing is published now", markup=False)
            return
        for share in shares:
            if share.work.known_to(self.index, State.SETTLED if share.left else State.FAILED):
                self._waiting.remove(share)
                self._publish(share)

    def _publish(self, share: Share) -> None:
        tokens = Tokens(
            prompt=share.spent.prompt_tokens,
            cached=share.spent.cached_tokens,
            completion=share.spent.output_tokens,
        )
        try:
            shown = extract.publish(share.run, share.planned, share.work, self._before, self.index, tokens)
            code = extract.judge(share.run, shown.counts)
            unanswered = int((self.index.states(share.work.ids) == State.FAILED).sum())
            share.end(code, counts=shown.counts, unanswered=unanswered)
        except Exception as error:
            share.fail(error)
            return
        report.leave(share.run.storage, shown)
        LOG.print(f"published {share.path}: {_told(share, shown.counts)}", markup=False)


def _told(share: Share, counts: Counts) -> str:
    too_many = ", more than max_dead_fraction" if share.record and share.record.exit_code == OVER_BUDGET else ""
    return (
        f"{counts.documents:,} documents, {counts.companies:,} companies, {counts.dead_letters:,} dead{too_many}, "
        f"{share.spent.requests:,} requests for {counts.chunks:,} chunks"
    )
