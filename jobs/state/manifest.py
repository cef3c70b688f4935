"""The manifest: the one file that says what is published, replaced last."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from extraction.config.settings import Columns
from extraction.errors import RunError
from jobs.state.storage import Storage

MANIFEST = "manifest.json"
Natural = Annotated[int, Field(ge=0)]


class ManifestPart(BaseModel):
    """Base of what the manifest holds; a newer version may add keys."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Counts(ManifestPart):
    """Documents and chunks of a run. `chunks_answered` holds those `from_ledger`."""

    documents: Natural
    chunks: Natural
    chunks_answered: Natural
    chunks_from_ledger: Natural
    companies: Natural
    dead_letters: Natural


class Tokens(ManifestPart):
    """Tokens of the requests that this run made; none where all came from the ledger."""

    prompt: Natural = 0
    cached: Natural = 0
    completion: Natural = 0


class File(ManifestPart):
    """A published file, its path relative to the output."""

    path: str
    rows: Natural
    bytes: Natural
    sha256: str


class Manifest(ManifestPart):
    """What a run published. `columns` are the names that its input has them by; `ledger` the URL of the folder of
    ledgers, where that is not in the output."""

    run_id: str
    fingerprint: str
    ledger: str | None = None
    profile: str | None = None
    columns: Columns = Columns()
    created_at: str
    counts: Counts
    tokens: Tokens
    profiles: tuple[File, ...]
    dead_letters: tuple[File, ...]
    versions: dict[str, str]


def read_manifest(storage: Storage) -> Manifest | None:
    """The manifest of an output, None where nothing is published. Raises RunError for one that is torn."""
    data = storage.read(MANIFEST)
    if data is None:
        return None
    try:
        return Manifest.model_validate(json.loads(data))
    except ValueError as error:
        raise RunError(f"{storage.full(MANIFEST)} is no manifest: {' '.join(str(error).split())[:200]}") from None
