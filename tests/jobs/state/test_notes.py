"""Notes of an actor for its next life, in a file of its run."""

from pathlib import Path

from actors.crash_suspects import Doubt
from jobs.stages.extract import StoredNotes
from jobs.state.storage import Storage

PATH = "work/runs/run/doubts/actor.json"


def test_the_next_life_reads_what_the_last_one_wrote(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    first = StoredNotes(storage, PATH, restarted=False)
    assert first.read() is None
    first.write({"a": Doubt(1, 0, "alone")})
    assert first.read() is None  # of another actor's life, by chance
    assert StoredNotes(storage, PATH, restarted=True).read() == {"a": [1, 0, "alone"]}


def test_without_a_file_or_with_a_foreign_one_nothing_is_known(tmp_path: Path) -> None:
    notes = StoredNotes(Storage(str(tmp_path)), PATH, restarted=True)
    assert notes.read() == {}
    for foreign in ("{torn", "[]"):
        (tmp_path / PATH).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / PATH).write_text(foreign)
        assert notes.read() == {}
