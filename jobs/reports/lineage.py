"""The OpenLineage (openlineage.io) events of a run: START, then COMPLETE, FAIL or ABORT.

They go to a server or a file, as the setting `lineage` says. A run neither waits long for them nor fails of them.
"""

import datetime
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from extraction.errors import OperatorError, described_error
from jobs.cli.command import LOG
from jobs.stages import ray_cluster
from jobs.stages.engines import version_of
from jobs.stages.run import Run
from jobs.state.manifest import Counts
from jobs.state.output_table import table_at
from jobs.state.parquet_schemas import DEAD_LETTERS, profile_schema
from jobs.state.publications import current_file
from jobs.state.run_record import without_credentials

if TYPE_CHECKING:  # an extra
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import OutputDataset, RunEvent
    from openlineage.client.facet_v2 import RunFacet, schema_dataset

PRODUCER = "urn:company-profiles"
NAMESPACE = "company-profiles"  # of jobs, unless OPENLINEAGE_NAMESPACE gives another
TIMEOUT_S = 5
PAUSE_S = 60  # without events after one that could not be sent
NO_DATASET = "*?[{="  # signs that end the part of an input's path which names it: of globs, placeholders, keys


@dataclass(frozen=True)
class LineageRun:
    """A run as its events tell of it: the name of its job, which others share, its inputs, and its first moment."""

    job: str
    run: Run
    inputs: Sequence[str]
    began_at: str


class Lineage:
    """Where events go; nowhere without a URL or file. Raises OperatorError where the library is missing or the URL
    is none. What can't be sent is told once, and for a minute nothing more is sent."""

    def __init__(self, to: str | None) -> None:
        self._to, self._client = to, _client(to) if to else None
        self._lock = threading.Lock()
        self._silent_until, self._is_reported = 0.0, False

    @contextmanager
    def reported(self, run: LineageRun) -> Iterator[Callable[[Counts], None]]:
        """Events of a run that is the block, which calls what it is given when it has published."""
        published = False

        def complete(counts: Counts) -> None:
            nonlocal published
            published = True
            self.complete(run, counts)

        self.start(run)
        try:
            yield complete
        except BaseException as error:
            if not published:
                self.fail(run, str(ray_cluster.reason(error) or error) or type(error).__name__, error)
            raise

    def start(self, run: LineageRun) -> None:
        """A run has begun."""
        self._send(lambda: _event("START", run, _outputs(run.run)))

    def complete(self, run: LineageRun, counts: Counts) -> None:
        """A run has published."""
        self._send(lambda: _event("COMPLETE", run, _outputs(run.run, counts), counts))

    def fail(self, run: LineageRun, message: str, error: BaseException | None = None) -> None:
        """A run has failed, or, by an error that is no Exception, was interrupted."""
        kind = "FAIL" if error is None or isinstance(error, Exception) else "ABORT"
        self._send(lambda: _event(kind, run, [], message=message))

    def _send(self, make_event: "Callable[[], RunEvent]") -> None:
        with self._lock:
            if self._client is None or time.monotonic() < self._silent_until:
                return
            try:
                self._client.emit(make_event())
            except Exception as error:
                self._silent_until = time.monotonic() + PAUSE_S
                if not self._is_reported:
                    self._is_reported = True
                    reason = described_error(error)
                    LOG.print(f"note     lineage: an event can't be sent to {self._to}: {reason}")


def _client(to: str) -> "OpenLineageClient":
    """The library's client, which lays `openlineage.yml` and OPENLINEAGE__ variables under what is given here."""
    if to != without_credentials(to):
        raise OperatorError(
            f"lineage = {without_credentials(to)} holds a user, a password or a query, and URLs are written to "
            "logs and records: set OPENLINEAGE_API_KEY instead"
        )
    try:
        from openlineage.client import OpenLineageClient, set_producer
    except ImportError:
        raise OperatorError(
            f"lineage = {to}: openlineage-python is not installed: install the project with its `lineage` extra"
        ) from None
    set_producer(PRODUCER)
    transport: dict[str, Any] = {"type": "file", "log_file_path": to, "append": True}
    if to.startswith(("http://", "https://")):
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells of each retry
        transport = {"type": "http", "url": to, "timeout": TIMEOUT_S, "retry": {"total": 1}}
        if key := os.environ.get("OPENLINEAGE_API_KEY"):
            transport["auth"] = {"type": "api_key", "apiKey": key}
    try:
        return OpenLineageClient(config={"transport": transport})
    except Exception as error:
        raise OperatorError(f"lineage = {to}: {error}") from None


def _event(
    kind: str,
    run: LineageRun,
    outputs: "list[OutputDataset]",
    counts: Counts | None = None,
    message: str | None = None,
) -> "RunEvent":
    from openlineage.client import event_v2
    from openlineage.client.facet_v2 import (
        error_message_run,
        input_statistics_input_dataset,
        job_type_job,
        processing_engine_run,
        tags_run,
    )
    from openlineage.client.uuid import generate_static_uuid

    this, began = run.run, datetime.datetime.fromisoformat(run.began_at)
    # Partitions of a batch have the same id, and publish to places of their own.
    run_id = generate_static_uuid(began, f"{this.storage.url} {this.run_id}".encode())
    tags = {"run_id": this.run_id, "model": this.fleet.model}
    facets: dict[str, RunFacet] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(version_of("ray"), "Ray"),
        "tags": tags_run.TagsRunFacet([tags_run.TagsRunFacetFields(*tag, NAMESPACE) for tag in tags.items()]),
    }
    if message is not None:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
    places = dict.fromkeys(_dataset(_root(each)) for each in run.inputs)
    inputs = [event_v2.InputDataset(*place) for place in places]
    if counts and len(inputs) == 1:
        read = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=counts.documents)
        inputs[0].inputFacets = {"inputStatistics": read}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return event_v2.RunEvent(
        eventType=event_v2.RunState(kind),
        eventTime=run.began_at if kind == "START" else now,
        run=event_v2.Run(str(run_id), facets),
        job=event_v2.Job(
            os.environ.get("OPENLINEAGE_NAMESPACE", NAMESPACE),
            without_credentials(run.job),
            {"jobType": job_type_job.JobTypeJobFacet("BATCH", "RAY", "JOB")},
        ),
        inputs=inputs,
        outputs=outputs,
    )


def _outputs(run: Run, counts: Counts | None = None) -> "list[OutputDataset]":
    """What a run publishes; once it has, with the number of rows, and the tables that hold them, too."""
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset, schema_dataset

    files = {name: f"{run.storage.url}/{current_file(name)}" for name in ("profiles", "dead_letters")}
    if counts is None:
        return [OutputDataset(*_dataset(url)) for url in files.values()]
    tables = [table_at(table).location() for table in run.tables]
    profiles = profile_schema(run.model), counts.companies
    written = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    return [
        OutputDataset(
            *_dataset(url),
            facets={"schema": schema_dataset.SchemaDatasetFacet(_fields(columns))},
            outputFacets={"outputStatistics": written(rowCount=rows)},
        )
        for url, (columns, rows) in (
            (files["profiles"], profiles),
            (files["dead_letters"], (DEAD_LETTERS, counts.dead_letters)),
            *((table, profiles) for table in tables),
        )
    ]


def _fields(columns: Sequence[pa.Field]) -> "list[schema_dataset.SchemaDatasetFacetFields]":
    from openlineage.client.facet_v2 import schema_dataset

    fields = []
    for column in columns:
        kind, inner = str(column.type), []
        if pa.types.is_struct(column.type):
            kind, inner = "struct", list(column.type)
        elif pa.types.is_list(column.type):
            kind, inner = "array", [column.type.value_field.with_name("_element")]  # as the facet's spec has it
        meaning = (column.metadata or {}).get(b"description", b"").decode() or None
        fields.append(schema_dataset.SchemaDatasetFacetFields(column.name, kind, meaning, fields=_fields(inner)))
    return fields


def _root(given: str) -> str:
    """What an input is about, by path or URL: of a pattern the folder in which that begins."""
    parts = without_credentials(given.rpartition("::")[2]).split("/")
    return "/".join(takewhile(lambda part: not any(sign in part for sign in NO_DATASET), parts))


def _dataset(url: str) -> tuple[str, str]:
    """Namespace and name of a file or folder, as the specification has them: `file` and `/data/documents`, or
    `s3://bucket` and `documents`."""
    kind, separator, place = without_credentials(url).rpartition("://")
    if not separator or kind == "file":
        return "file", os.path.abspath(place)
    host, _, name = place.partition("/")
    return f"{kind}://{host}", name.strip("/") or "/"
