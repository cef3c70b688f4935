"""A calibration from a run's own answers and labels, that the next run takes."""

import json
from pathlib import Path
from random import Random

import pytest
import yaml

from actors.results import Result
from extraction.config.settings import load_settings
from extraction.merging.confidence import Calibration
from extraction.prompting.logprobs import leaves
from jobs import calibrate
from jobs.cli.command import CONFIGS
from jobs.state.run_record import RunRecord
from jobs.state.storage import Storage
from tests.jobs.outputs import ask, publish, reply


def labelled_run(folder: Path, count: int = 90, kind: str | None = None) -> tuple[Path, Path]:
    """A run of which some answers name the wrong company, less surely, and the labels."""
    chance = Random(5)
    asked = []
    labels = {}
    for number in range(count):
        right = chance.random() < 0.7
        said = reply(name=f"{'Alder' if right else 'Birch'} {number} Ltd", kind="organization")
        scores = [-0.1] * leaves(json.loads(said))
        scores[0] = -chance.uniform(0.01, 0.6) if right else -chance.uniform(0.4, 3)
        text = f"Alder {number} Ltd bought Birch {number} Ltd."
        asked.append((f"c{number}", text, Result(f"chunk{number}", (said,), scores=(tuple(scores),))))
        labels[f"c{number}"] = {"name": f"Alder {number} Ltd"}
    out = publish(folder / "out", {"c0": {"name": "Alder 0 Ltd"}})
    ask(out, asked, kind)
    run_id = json.loads((out / "manifest.json").read_text())["run_id"]
    settings = load_settings(CONFIGS / "demo.yaml").model_dump(mode="json")
    record = RunRecord(
        run_id=run_id, began_at="", inputs=(), engine="llamacpp", model="m", limit=1, gpus=0, settings=settings
    )
    record.write(Storage(str(out)), {})
    (folder / "labels.yaml").write_text(yaml.safe_dump(labels))
    return out, folder / "labels.yaml"


def test_a_calibration_is_written_that_settings_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, labels = labelled_run(tmp_path, kind="[/press]")
    path = tmp_path / "calibration.yaml"
    assert calibrate.main(["--profiles", str(out), "--labels", str(labels), "--output", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == [
        "left",
        "out",
        "values",
        "right",
        "published",
        "precision",
        "of",
        "the",
        "right",
        "ECE",
    ]
    assert [line.split()[0] for line in printed[1:3]] == ["[/press]", "all"]
    assert printed[-1].startswith("min_confidence: default 0.")
    made = Calibration.model_validate(yaml.safe_load(path.read_text()))
    assert made.fitted.companies == made.fitted.values == 90
    assert made.chunk.weights["logprob"] > 0 and 0.3 < made.min_confidence["default"] < 1
    settings = load_settings(CONFIGS / "demo.yaml", {"confidence.calibration": str(path)})
    assert settings.confidence.calibration == made
    assert settings.confidence.minima(made) == made.min_confidence
    assert settings.confidence.minima(None) == {"default": 0}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--precision", "2"], "a number between 0 and 1"),
        (["--labels", "few.yaml"], "at least 50 are needed"),
        (["--labels", "other.yaml"], "no labelled company"),
        (["--profiles", "nowhere"], "nothing is published there"),
        (["--output", "out"], "can't be written"),
    ],
)
def test_the_operators_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    labelled_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.yaml").write_text("c1: {name: Alder 1 Ltd}")
    (tmp_path / "other.yaml").write_text("zeder: {name: Zeder}")
    assert calibrate.main(["--profiles", "out", "--labels", "labels.yaml", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
