"""How fast answers become profiles: the whole reduce stage over made-up companies, in extractions a second.

Nothing is asked of a model: chunk files and ledger segments are written as a run leaves them, then reduced.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pyarrow as pa

from actors.results import RESULTS
from extraction.documents import Piece
from extraction.prompting.logprobs import leaves
from jobs.benchmarks.harness import made_up_run, show
from jobs.cli.command import CONFIGS, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import NumbersFile, Positive, flag
from jobs.stages import ray_cluster
from jobs.stages.plan import Plan
from jobs.stages.reduce import reduce
from jobs.stages.run import Run
from jobs.state.parquet_schemas import CHUNKS

FILE_ROWS = 5_000  # about what a block of the plan holds
FIRST = (
    "Amber", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Garnet", "Heron", "Iris", "Juniper", "Kelp", "Linden",
)  # fmt: skip
SECOND = ("Bearings", "Looms", "Ovens", "Pumps", "Sails", "Valves", "Violins", "Wheels", "Lamps", "Kilns")
CITIES = (("Bergen", "Norway"), ("Braga", "Portugal"), ("Duluth", "United States"), ("Londrina", "Brasil"))
FILLER = " ".join(f"{one} and {other.lower()} are told of here." for one in FIRST for other in SECOND)
INVENTED = 0.3  # of the answers hold a value that stands nowhere, as a small model's do


app = command("merging", __doc__)


@app.default
def run(
    *,
    companies: Positive = 100_000,
    extractions: Annotated[Positive, flag("of each company")] = 10,
    characters: Annotated[Positive, flag("of each chunk")] = 700,
    json_file: NumbersFile = None,
) -> int:
    """Measure, print and write."""
    show([measure_merging(companies, extractions, characters)], json_file)
    return DONE


def measure_merging(companies: int, extractions: int, characters: int) -> dict[str, Any]:
    """Write what a run leaves, and reduce it: the seconds of that, of them for the ledger's index, and those to
    make its input, not counted."""
    with tempfile.TemporaryDirectory(prefix="merging-") as folder:
        this = made_up_run(CONFIGS / "demo.yaml", folder, {})
        began = time.monotonic()
        files = tuple(_write(this, companies, extractions, characters))
        written_s = time.monotonic() - began
        total = companies * extractions
        plan = Plan(files, (), total, 0, 0, True)
        with ray_cluster.connected():
            began = time.monotonic()
            index = this.ledger.index()
            indexed_s = time.monotonic() - began
            reduced = reduce(this, plan, index)
        seconds = time.monotonic() - began
    merged = sum(file.rows for file in reduced.profiles)
    return {
        "companies": merged,
        "extractions": total,
        "seconds": seconds,
        "index_s": indexed_s,
        "made_s": written_s,
        "extractions_per_s": total / seconds,
    }


def _write(run: Run, companies: int, extractions: int, characters: int) -> Iterator[str]:
    """Chunk files, all chunks of a company in one, and for each a ledger segment with the answers."""
    at_once = max(1, FILE_ROWS // extractions)
    for first in range(0, companies, at_once):
        chunks: list[dict[str, Any]] = []
        answers: list[dict[str, Any]] = []
        for company in range(first, min(companies, first + at_once)):
            for number in range(extractions):
                chunk, answer = made_extraction(company, number, characters)
                chunks.append(chunk)
                answers.append(answer)
        name = f"{run.ledger.folder}/{run.run_id}.made.{first:09}.parquet"
        run.ledger.storage.write_table(name, pa.Table.from_pylist(answers, RESULTS))
        yield run.storage.write_table(
            f"{run.folder}/chunks/{{sha}}.parquet", pa.Table.from_pylist(chunks, CHUNKS)
        ).path


def made_extraction(company: int, number: int, characters: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A document about a company as a row of a plan, and what a model would answer as one of the ledger."""
    first, second = FIRST[company % len(FIRST)], SECOND[company % len(SECOND)]
    city, country = CITIES[company % len(CITIES)]
    facts: dict[str, Any] = {
        "name": f"{first} {second} {company} Ltd",
        "kind": "organization",
        "city": city,
        "country": country,
        "founded_year": 1900 + company % 120,
        "website": f"www.company{company}.example",
        "email": f"info@company{company}.example",
        "phone": f"+47 555 {company % 10_000:04}",
        "tax_id": None,
        "ticker": None,
        "employees": 10 + company % 890,
        "products": [f"{SECOND[(company + n) % len(SECOND)].lower()} of kind {n}" for n in range(3)],
    }
    text = (
        f"{facts['name']} of {city}, {country}, was founded in {facts['founded_year']}.\n"
        f"It has {facts['employees']} people and makes {', '.join(facts['products'])}.\n"
        f"Telephone {facts['phone']}, {facts['website']}, {facts['email']}.\n"
    )
    text += f"{number} {FILLER * (1 + characters // len(FILLER))}"[: max(0, characters - len(text))]
    if (company + number) % 10 < INVENTED * 10:
        facts |= {"phone": "+1 999 000 0000", "products": [*facts["products"], "gold rings and other things"]}
    document_id = f"d{company}-{number}"
    piece = Piece(
        document_id, 0, len(text), 0, len(text), "page", f"20{number % 25:02}-01-01", f"made#{document_id}"
    )
    chunk = {
        "chunk_id": f"{company:032x}{number:032x}",
        "company_id": f"{company:08}",
        "content": text,
        "prompt_tokens": 0,
        "max_tokens": 0,
        "pieces": [vars_of(piece)],
    }
    scores = [[-0.1 - number / 50] * leaves(facts)]
    return chunk, {"chunk_id": chunk["chunk_id"], "replies": [json.dumps(facts)], "scores": scores}


def vars_of(piece: Piece) -> dict[str, Any]:
    """A piece's fields, not copied deeply: there are a million."""
    return {name: getattr(piece, name) for name in Piece.__slots__}
