"""The kinds of fault: each a name, and what happens in a world of its own. Raises where the promise is not kept."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.world import World

Course = Callable[[World], None]


@dataclass(frozen=True)
class Kind:
    """A fault: where it strikes, what it is, and its course."""

    place: str
    name: str
    course: Course

    def __str__(self) -> str:
        return f"{self.place}: {self.name}"


KINDS: list[Kind] = []


def kind(place: str, name: str) -> Callable[[Course], Course]:
    """Register a course of events."""

    def register(course: Course) -> Course:
        KINDS.append(Kind(place, name, course))
        return course

    return register
