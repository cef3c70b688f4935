"""The manifest: the one file that says what is published, replaced last."""

from typing import Annotated

from pydantic import Field

from extraction.config.settings import Columns
from jobs.state.storage import Storage, StoredRecord, Written

MANIFEST = "manifest.json"
Natural = Annotated[int, Field(ge=0)]


class Counts(StoredRecord):
    """Documents and chunks of a run."""

    documents: Natural = Field(
        description="Documents of the input, in profiles or dead; rows with the same id and text are one"
    )
    chunks: Natural = Field(description="Chunks that they make")
    chunks_answered: Natural = Field(description="Chunks with a reply")
    chunks_from_ledger: Natural = Field(description="Those of them whose reply was in the ledger before the run")
    companies: Natural = Field(description="Rows of all profile files")
    dead_letters: Natural = Field(description="Rows of all dead letter files")
    dead_documents: Natural = Field(default=0, description="Documents that these rows stand for")


class Tokens(StoredRecord):
    """Tokens of the requests that this run made; none where all came from the ledger."""

    prompt: Natural = Field(default=0, description="Prompt tokens of the run's requests")
    cached: Natural = Field(default=0, description="Those of them that came from the prefix cache")
    completion: Natural = Field(default=0, description="Output tokens of the run's requests")


class Manifest(StoredRecord):
    """What a run published."""

    run_id: str = Field(description="The run that published")
    fingerprint: str = Field(description="Digest of all that changes a reply; names the ledger")
    ledger: str | None = Field(
        default=None, description="URL of the folder of ledgers, where it is not in the output"
    )
    profile: str = Field(description="The profile model as `module:Model`")
    columns: Columns = Field(default=Columns(), description="Names of the input's columns")
    created_at: str = Field(description="When it was published (UTC)")
    attempt: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="Which attempt this was: runs on this output since the publication before, this one included",
    )
    previous: tuple[str, ...] = Field(
        default=(), description="Earlier runs whose files are kept, the newest first: `publications.keep`"
    )
    counts: Counts
    tokens: Tokens
    refused: dict[str, Natural] = Field(
        default_factory=dict,
        description="Values of replies that the profile model refused, counted by field and reason; they are null",
    )
    profiles: tuple[Written, ...] = Field(description="The published profile files")
    dead_letters: tuple[Written, ...] = Field(description="The published dead letter files")
    notes: tuple[str, ...] = Field(
        default=(),
        description="What of the input's columns was left out, or read in another way than it may be meant",
    )
    versions: dict[str, str] = Field(
        description="Versions of Python, of the packages and of the engine, and the model's name"
    )


def read_manifest(storage: Storage) -> Manifest | None:
    """The manifest of an output; None where nothing is published, or what is there can't be read: the next run
    replaces it."""
    return storage.read_record(MANIFEST, Manifest)
