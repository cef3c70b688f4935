"""A cloud on one machine, for Ray's autoscaler: nodes that it starts and ends for real, each with processes and a
folder of its own, and types of which it has no machine."""

import json
import threading
from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

from tests.jobs.nodes import Node


class FakeCloud(FakeMultiNodeProvider):  # type: ignore[misc]
    """Ray's own fake provider, with nodes that `ray start` makes. Its configuration has the `folder` of what nodes
    leave, and of the journal of what it does; that of a type may have `environment`, for the node's processes, and
    `sold_out`."""

    def _create_node_with_resources_and_labels(
        self, node_config: dict[str, Any], tags: dict[str, str], count: int, resources: Any, labels: dict[str, str]
    ) -> None:
        if node_config.get("sold_out"):
            raise RuntimeError("InsufficientInstanceCapacity")
        with self.lock:
            kind, name = tags[TAG_RAY_USER_NODE_TYPE], self._next_hex_node_id()
            folder = f"{self.provider_config['folder']}/{self._next_node_id}"
            Path(folder).mkdir(parents=True)
            flags = {"address": self._gcs_address, "temp-dir": folder, "num-cpus": int(resources["CPU"])}
            flags |= {"num-gpus": int(resources["GPU"]), "labels": ",".join(map("=".join, labels.items()))}
            identity = {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": name, "RAY_CLOUD_INSTANCE_ID": name}
            node = Node(
                Path(folder, "node.log"),
                dict,
                *(f"--{flag}={value}" for flag, value in flags.items()),
                RAY_NODE_TYPE_NAME=kind,
                **identity,
                **node_config["environment"],
            )
            threading.Thread(target=node.wait, daemon=True).start()  # it is started again where that takes too long
            mine = {TAG_RAY_NODE_KIND: NODE_KIND_WORKER, TAG_RAY_NODE_NAME: name}
            mine |= {TAG_RAY_USER_NODE_TYPE: kind, TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE}
            self._nodes[name] = {"tags": mine | tags, "node": node}
            self._note("start", name)

    def terminate_node(self, node_id: str) -> None:
        """End a node."""
        with self.lock:
            self._note("end", node_id)
            self._nodes.pop(node_id)["node"].kill()

    def _note(self, event: str, name: str) -> None:
        node = self._nodes[name]
        told = {"event": event, "type": node["tags"][TAG_RAY_USER_NODE_TYPE], "node": name}
        with Path(self.provider_config["folder"], "journal").open("a") as journal:
            journal.write(json.dumps({**told, "pid": node["node"].process.pid}) + "\n")
