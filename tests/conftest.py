"""What all tests share: how laws are run, one Ray, one fake server, and real documents where they are at hand."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.fakes.process import ROOT, FakeServer

__all__ = ["ROOT"]

DATA = ROOT.parent / "shared" / "data"

# The same examples every time, few enough for two slow cores. No law is read before this file.
settings.register_profile(
    "stable",
    derandomize=True,
    deadline=None,
    max_examples=80,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is begun first, so that no process is alone with it at the end: files with nodes of their
    own, then those with the most tests that use Ray."""
    weights = Counter[Path]()
    for item in items:
        names = getattr(item, "fixturenames", ())
        weights[item.path] += 100 if "nodes" in names else "cluster" in names
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A local Ray for the whole session; `connected()` uses it and leaves it running."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_worker_niceness", "0")  # whoever waits for a worker is as nice
    os.environ.setdefault("RAY_num_workers_soft_limit", "8")  # that are idle and kept: each start costs seconds
    os.environ["PYTHONPATH"] = str(ROOT)  # workers import the tests' own models
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        ray.init(
            address="local",
            num_cpus=4,
            num_gpus=2,
            object_store_memory=200 << 20,
            include_dashboard=False,
            logging_level="error",
            log_to_driver=False,
        )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    """A fake server that answers at once."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with all of a model that the plan needs: its tokenizer."""
    return model_folder(tmp_path / "house-model")


def model_folder(folder: Path) -> Path:
    """Write a tokenizer to a folder of a model."""
    folder.mkdir()
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def data() -> Path:
    """Folder of real documents; the test is skipped where it is missing."""
    if not DATA.is_dir():
        pytest.skip("no real documents beside the checkout")
    return DATA
