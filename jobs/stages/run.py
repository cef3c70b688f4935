"""A run: its settings, its servers, its storage, and the names that follow from them."""

import calendar
import datetime
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from actors.servers.llamacpp import local_model
from extraction.chunking.chunk_identity import fingerprint
from extraction.chunking.chunker import Chunker
from extraction.chunking.tokenizers import load_counter
from extraction.config.settings import Settings
from extraction.merging.confidence import Calibration, Minima, minimum_of
from extraction.prompting.response_schema import wire_schema
from jobs.stages.engines import Fleet, find_files
from jobs.state.ledger import LEDGERS, Ledger
from jobs.state.run_record import RunRecord, folder_of, without_credentials
from jobs.state.storage import Storage

RUN_TIME = "%Y%m%dT%H%M%SZ"


def logs_of(name: str) -> Path:
    """The folder for the servers' logs of a run, on each node."""
    return Path(tempfile.gettempdir(), "company-profiles", name)


@dataclass(frozen=True)
class Run:
    """One run over one output. Sent to tasks as it is.

    `ledgers` is where the ledger is kept, if not in the output: runs that share it pay once for a chunk. `tables`
    are those that what it publishes is committed to.
    """

    run_id: str
    settings: Settings
    fleet: Fleet
    storage: Storage
    logs: Path
    ledgers: Storage | None = None
    tables: tuple[str, ...] = ()

    @property
    def model(self) -> type[BaseModel]:
        """The profile model."""
        return self.settings.profile_model()

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The wire schema for the engine's grammar."""
        return wire_schema(self.model, bounded=self.fleet.bounded, optional=self.settings.prompt.optional)

    @cached_property
    def fingerprint(self) -> str:
        """The digest of all that changes an answer."""
        fleet = self.fleet
        return fingerprint(
            self.settings,
            self.model,
            self.schema,
            served=fleet.model,
            revision=fleet.revision,
            weights=fleet.weights,
            template=fleet.template,
            flags=fleet.answer_flags,
        )

    @cached_property
    def calibration(self) -> Calibration | None:
        """How signals become confidence; None where it was fitted for another model, profile or prompt."""
        return None if self.misfit else self.settings.confidence.calibration

    @property
    def misfit(self) -> str | None:
        """Why the calibration in the settings is not applied; None where it is, or there is none."""
        return self.settings.misfit(self.fleet.model)

    @property
    def calibrated_for(self) -> str:
        """What confidence is worth in this run, in words."""
        published = f"published from {self.least_confidence('default'):g}"
        if self.calibration:
            return f"calibrated for {self.fleet.model}, {published}"
        why = self.misfit or f"there is no calibration for {self.fleet.model}"
        more = "" if self.least_confidence("default") else "; confidence.min_confidence keeps less sure values back"
        return f"a score, no probability, {published}: {why}{more}"

    @cached_property
    def minima(self) -> Minima:
        """What values need to be published, by field."""
        return self.settings.confidence.minima(self.calibration)

    def least_confidence(self, field: str) -> float:
        """What a field's value needs to be published."""
        return minimum_of(self.minima, field)

    @property
    def date(self) -> str:
        """The day on which it began (ISO): no document can be of a later one."""
        return f"{self.run_id[:4]}-{self.run_id[4:6]}-{self.run_id[6:8]}"

    @property
    def ledger(self) -> Ledger:
        """The answers of all runs with this fingerprint."""
        return Ledger(self.ledgers or self.storage.under(LEDGERS), self.fingerprint)

    @property
    def folder(self) -> str:
        """Where the run keeps its plan."""
        return folder_of(self.run_id)

    def record(self, inputs: Sequence[str], first_documents: int | None) -> RunRecord:
        """The record of the run as it begins."""
        settings = self.settings.model_dump(mode="json")
        if settings["endpoint"]["url"]:
            settings["endpoint"]["url"] = without_credentials(settings["endpoint"]["url"])
        return RunRecord(
            run_id=self.run_id,
            began_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            inputs=tuple(map(without_credentials, inputs)),
            first_documents=first_documents,
            engine=self.fleet.engine,
            model=self.fleet.model,
            limit=self.fleet.limit,
            gpus=self.fleet.gpus,
            revision=self.fleet.revision,
            answer_flags=dict(self.fleet.answer_flags),
            settings=settings,
        )

    def chunker(self) -> Chunker:
        """A chunker with the model's tokenizer, which a process loads once."""
        return Chunker(
            model=self.model,
            prompt=self.settings.prompt,
            limits=self.settings.limits,
            counter=load_counter(self._tokenizer()),
            template=self.fleet.template,
            fingerprint=self.fingerprint,
        )

    def _tokenizer(self) -> str | None:
        """The tokenizer's path on this node, found anew where the driver's path leads nowhere."""
        path = self.fleet.tokenizer
        if path is None or Path(path).exists():
            return path
        if self.fleet.engine == "llamacpp":
            return str(local_model(self.settings.model.name, self.settings.model.template).path)
        pinned = self.settings.model.model_copy(update={"revision": self.fleet.revision})
        return find_files(pinned).tokenizer


def new_run_id(after: str | None = None) -> str:
    """A name that sorts by time and that no two runs share; after that of another run, whatever a clock says."""
    moment = int(time.time())
    if after:
        moment = max(moment, calendar.timegm(time.strptime(after[:16], RUN_TIME)) + 1)
    return time.strftime(RUN_TIME, time.gmtime(moment)) + "-" + secrets.token_hex(3)


class Stages:
    """The seconds that each stage took, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._reached = time.monotonic()

    def end(self, stage: str) -> None:
        """A stage is over."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self._reached, 3)
        self._reached = now

    @property
    def total(self) -> float:
        """Seconds from the beginning to now."""
        return sum(self.seconds.values()) + time.monotonic() - self._reached
