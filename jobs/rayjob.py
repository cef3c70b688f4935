"""Run a job as the entrypoint of KubeRay's RayJob, so that it is retried only where that can help.

python jobs/rayjob.py jobs/extract.py --input ... --output ...

KubeRay sees no exit codes: it runs whatever FAILED again, on a new cluster. So a job that ends with 2 (the
operator's mistake) or 3 (more dead documents than allowed) is stopped: a RayJob whose Ray job is STOPPED is not
retried, and not called a success either.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from ray.job_submission import JobSubmissionClient

from jobs.cli.command import LOG
from jobs.cli.exit_codes import MISTAKE, OVER_BUDGET
from jobs.state.lease import submission_id

STOPPED_WITHIN_S = 60


def main(argv: Sequence[str]) -> int:
    """Run the job; its exit code, where it is not stopped."""
    code = subprocess.run([sys.executable, *argv], check=False).returncode
    if code in (MISTAKE, OVER_BUDGET) and (submission := submission_id()):
        LOG.print(f"exit {code}: no retry is the cure, so this Ray job is stopped")
        JobSubmissionClient(os.environ["RAY_ADDRESS"]).stop_job(submission)
        time.sleep(STOPPED_WITHIN_S)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
