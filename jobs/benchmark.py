"""Measure what this project claims.

    python jobs/benchmark.py serving --help             what one takes
    python jobs/benchmark.py planning --tokens 1000000  one number a size

Exit codes: 0 measured; 1 something could not be measured; 2 the operator's mistake.
"""

import sys
from functools import partial

from jobs.benchmarks import dispatching, merging, planning, resume, serving, sharing, windows
from jobs.cli.command import command, enter

app = command("benchmark.py", __doc__)
for benchmark in (serving, planning, dispatching, sharing, merging, windows, resume):
    app.command(benchmark.app)
main = partial(enter, app)


if __name__ == "__main__":
    sys.exit(main())
