"""A fake server under a name of its own."""

from collections.abc import Iterator

import pytest

from tests.fakes.process import FakeServer


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer("--served-model-name", "house", "--tp-size", "1", "--log-level=info") as fake:
        yield fake
