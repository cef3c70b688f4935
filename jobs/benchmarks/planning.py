"""How fast documents become chunks: the whole plan stage over the demo's documents again and again, or others.

    python jobs/benchmark.py planning --tokens 1000000 10000000 100000000

Tokens are those of the documents' text.
"""

import math
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.errors import OperatorError
from jobs.benchmarks.harness import show
from jobs.benchmarks.measurement import CpuClock
from jobs.cli import demo_documents
from jobs.cli.command import CONFIGS, LOG, Options, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import FilePath, Name, NumbersFile, WholeNumbers, flag
from jobs.inputs import document_reader
from jobs.stages import plan, ray_cluster
from jobs.stages.run import Run, new_run_id
from jobs.state.storage import storage_at

FILE_BYTES = 64 << 20  # of text, in each input file


app = command("planning", __doc__)


@app.default
def run(
    *,
    tokens: WholeNumbers = (1_000_000, 10_000_000, 100_000_000),
    input: Annotated[FilePath | None, flag("documents in Parquet (default: the demo's)")] = None,
    config: Annotated[FilePath, flag("limits and prompt")] = CONFIGS / "extract.yaml",
    model: Annotated[Name, flag("whose tokenizer counts")] = "smollm2-135m-instruct",
    json_file: NumbersFile = None,
) -> int:
    """Measure every size."""
    settings, servers = Options(engine="llamacpp", config=config, model=model).resolve()
    documents = pq.read_table(input) if input else demo_documents.demo_documents()
    measured = []
    with ray_cluster.connected():
        for size in tokens:
            with tempfile.TemporaryDirectory(prefix="planning-") as folder:
                this = Run(new_run_id(), settings, servers, storage_at(folder), Path(folder, "logs"))
                measured.append(measure_planning(this, documents, size, Path(folder, "in")))
            LOG.print(f"{measured[-1]['tokens']:,} tokens: {measured[-1]['tokens_per_s']:,.0f} a second")
    show(measured, json_file)
    return DONE


def measure_planning(this: Run, documents: pa.Table, tokens: int, folder: Path) -> dict[str, Any]:
    """Write as many copies of the documents as make so many tokens, each of companies of its own, and plan them."""
    counter = this.chunker().counter
    if not counter.exact:
        raise OperatorError("--model: tokens are to be counted, not estimated")
    once = sum(counter.count(text) for text in documents["text"].to_pylist() if text)
    size = pc.sum(pc.binary_length(documents["text"])).as_py()
    copies, per_file = math.ceil(tokens / once), max(1, FILE_BYTES // size)
    folder.mkdir()
    for first in range(0, copies, per_file):
        numbered = [_copy(documents, number) for number in range(first, min(copies, first + per_file))]
        pq.write_table(pa.concat_tables(numbered), folder / f"{first:09}.parquet", compression="zstd")
    clock, began = CpuClock(), time.monotonic()
    planned = plan.plan(this, document_reader.find_input([str(folder)], this.settings.columns))
    seconds = time.monotonic() - began
    chunks = sum(pq.read_metadata(this.storage.full(path)).num_rows for path in planned.chunk_files)
    cpu_s = sum(clock.seconds().values())
    return {
        "documents": planned.documents,
        "tokens": copies * once,
        "megabytes": copies * size / 1e6,
        "chunks": chunks,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "tokens_per_s": copies * once / seconds,
        "tokens_per_cpu_s": copies * once / cpu_s,
    }


def _copy(documents: pa.Table, number: int) -> pa.Table:
    for name in ("document_id", "company_id"):
        if name in documents.column_names:
            ids = pc.binary_join_element_wise(documents[name].cast(pa.string()), pa.scalar(str(number)), "-")
            documents = documents.set_column(documents.column_names.index(name), name, ids)
    return documents
