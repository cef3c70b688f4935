"""The documents of `make demo`: text files with front matter, as one table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from extraction.errors import OperatorError
from jobs.cli.command import CONFIGS

DEMO_FOLDER = CONFIGS / "demo" / "documents"


FENCE = "---\n"


DEMO_COLUMNS = ("document_id", "company_id", "text", "title", "url", "document_type", "document_date")


def document(path: Path) -> dict[str, str | None]:
    """A row from a file of front matter and text; its name is the document's id."""
    _, head, text = path.read_text(encoding="utf-8").split(FENCE, 2)
    front_matter = yaml.safe_load(head)
    return {
        "document_id": path.stem,
        "text": text.strip(),
        **{key: front_matter.get(key) for key in DEMO_COLUMNS if key in front_matter},
    }


def demo_documents() -> pa.Table:
    """All demo documents, in order of their ids."""
    rows = [document(path) for path in sorted(DEMO_FOLDER.glob("*.md"))]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in DEMO_COLUMNS]))


def write_demo(path: Path) -> None:
    """Write the documents to a Parquet file. Raises OperatorError where it can't be written."""
    documents = demo_documents()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(documents, path)
    except OSError as error:
        raise OperatorError(f"--output {path} can't be written: {error.strerror}") from None
