"""Chaos: every kind of fault that a backfill meets, each in a run of its own, and the census after it.

    python -m tests.chaos                     all kinds, and 100 drivers killed at random moments
    python -m tests.chaos --only node --seed 7

Exit code 0 when every promise was kept.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos import deaths, drivers, inputs, objects, replies, stores
from tests.chaos.kinds import KINDS, Kind
from tests.chaos.world import SITE, World
from tests.fakes.object_stores import OF_OBJECT_STORES
from tests.fakes.process import ROOT
from tests.jobs.nodes import ENVIRONMENT, RayCluster, running

AREAS = (replies, deaths, inputs, stores, objects, drivers)


def main() -> int:
    """Run the kinds that are asked for; print what came of each as it ends, and a table of all."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--only", action="append", metavar="WORDS", help="kinds whose place and name hold them")
    flags.add_argument("--kills", type=int, default=100, metavar="N", help="drivers killed at random moments")
    flags.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of moments")
    flags.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    asked = flags.parse_args()
    killing = partial(drivers.kill_at_random, kills=asked.kills)
    kinds = (*KINDS, Kind("driver", f"SIGKILL at {asked.kills} random moments", killing))
    chosen = [k for k in kinds if not asked.only or any(words in str(k) for words in asked.only)]
    out = Console(width=150, highlight=False)
    out.print(f"seed {asked.seed}, {len(chosen)} kinds")
    more = {**OF_OBJECT_STORES, "PYTHONPATH": f"{ROOT}{os.pathsep}{SITE}"}
    with tempfile.TemporaryDirectory() as logs, running(RayCluster(Path(logs))) as cluster:
        cluster.add(cpus=4, gpus=1, **more).wait()
        rows = [trial(World(cluster, ENVIRONMENT | more, asked.seed), each, out) for each in chosen]
    table = Table("where", "fault", "census", "seconds", "remarks", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("place", "name", "census", "seconds", "remarks")))
    out.print(table)
    failed = [row for row in rows if row["census"] != "clean"]
    out.print(f"{len(rows) - len(failed)} of {len(rows)} kinds of fault clean, seed {asked.seed}")
    if asked.json:
        asked.json.write_text(json.dumps({"seed": asked.seed, "kinds": rows}, indent=1) + "\n")
    return 1 if failed else 0


def trial(world: World, each: Kind, out: Console) -> dict[str, object]:
    """One kind in a world of its own; the row that tells of it."""
    began, census = time.monotonic(), "clean"
    try:
        each.course(world)
    except Exception:
        census = "BROKEN"
        out.print(traceback.format_exc()[-6000:], markup=False)
    finally:
        world.close()
    seconds = round(time.monotonic() - began)
    remarks = "; ".join(world.notes)
    out.print(f"{census}  {each} ({seconds} s) {remarks}", markup=False)
    return {"place": each.place, "name": each.name, "census": census, "seconds": seconds, "remarks": remarks}


if __name__ == "__main__":
    sys.exit(main())
