"""The chaos of `make chaos`; tests/jobs/test_nodes.py runs one of its quick kinds."""

from tests.chaos.__main__ import AREAS
from tests.chaos.kinds import KINDS


def test_kinds_have_names_of_their_own() -> None:
    assert AREAS
    assert len({str(kind) for kind in KINDS}) == len(KINDS) > 20
