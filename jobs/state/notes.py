"""The notes of an actor for its next life, as a file of its run."""

import json
from dataclasses import dataclass
from typing import Any

from jobs.state.storage import Storage


@dataclass(frozen=True)
class StoredNotes:
    """Doubts by chunk id, in a JSON file that is there whole or not at all."""

    storage: Storage
    path: str
    restarted: bool

    def read(self) -> dict[str, Any] | None:
        """What the actor's last life wrote; None in its first."""
        if not self.restarted:
            return None
        try:
            found = json.loads(self.storage.read(self.path) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, doubts: dict[str, Any]) -> None:
        """Put doubts in place of those before."""
        self.storage.write(self.path, json.dumps(doubts).encode())
