"""A cloud on one machine, for Ray's autoscaler: nodes that it starts and ends for real, and types that it has no
machine of."""

import json
import os
from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

__all__ = ["FAKE_HEAD_NODE_ID", "FakeCloud"]


class FakeCloud(FakeMultiNodeProvider):  # type: ignore[misc]
    """Ray's own fake provider, which notes in a journal what it does. A type's `node_config` may have
    `environment`, for the node's processes, and `sold_out`, for a type of which the cloud has no machine."""

    def _create_node_with_resources_and_labels(
        self, node_config: dict[str, Any], tags: dict[str, str], count: int, resources: Any, labels: Any
    ) -> None:
        if node_config.get("sold_out"):
            raise RuntimeError("InsufficientInstanceCapacity")
        with self.lock:
            os.environ.update(node_config.get("environment", {}))
            super()._create_node_with_resources_and_labels(node_config, tags, count, resources, labels)
            self._note("start", next(reversed(self._nodes)))

    def terminate_node(self, node_id: str) -> None:
        """End a node."""
        with self.lock:
            self._note("end", node_id)
            super().terminate_node(node_id)

    def _note(self, event: str, node: str) -> None:
        kind = self._nodes[node]["tags"][TAG_RAY_USER_NODE_TYPE]
        with Path(self.provider_config["journal"]).open("a") as journal:
            journal.write(json.dumps({"event": event, "type": kind, "node": node}) + "\n")
