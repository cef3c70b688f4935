"""drain.sh asks a cloud for its notice, and drains the node when there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .manifests import CLUSTER

SCRIPT = CLUSTER / "drain.sh"
CURL = """#!{python}
import sys
from pathlib import Path
here = Path(__file__).parent
asked = sys.argv[-1]
with open(here / "asked", "a") as log:
    print(" ".join(sys.argv[1:]), file=log)
times = (here / "asked").read_text().count(asked.rsplit("/", 1)[-1])
if asked.endswith("/token"):
    print("a-token")
elif asked.endswith("/instance-action"):
    sys.exit(0 if times > 2 else 22)
elif asked.endswith("/preempted"):
    print("TRUE" if times > 2 else "FALSE")
"""
RAY = """#!{python}
import sys
from pathlib import Path
(Path(__file__).parent / "drained").write_text(" ".join(sys.argv[1:]))
"""


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    for name, code in (("curl", CURL), ("ray", RAY)):
        (folder / name).write_text(code.format(python=sys.executable))
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "POLL_S": "0.01"}
    return subprocess.run(
        ["sh", str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("cloud", "seconds"), [("aws", "120"), ("gcp", "30")])
def test_a_notice_drains_the_node(tmp_path: Path, cloud: str, seconds: str) -> None:
    assert run(tmp_path, cloud, seconds).returncode == 0
    drained = (tmp_path / "drained").read_text()
    assert drained.startswith("drain-node --reason DRAIN_NODE_REASON_PREEMPTION ")
    assert drained.endswith(f"--deadline-remaining-seconds {seconds}")
    asked = (tmp_path / "asked").read_text()
    if cloud == "aws":
        assert "X-aws-ec2-metadata-token: a-token" in asked
        assert asked.count("instance-action") == 3
    else:
        assert asked.count("/preempted") == 3


def test_another_cloud_is_a_mistake(tmp_path: Path) -> None:
    done = run(tmp_path, "azure", "30")
    assert (done.returncode, (tmp_path / "drained").exists()) == (2, False)
    assert "azure is neither aws nor gcp" in done.stderr
