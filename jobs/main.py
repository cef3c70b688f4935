"""All commands of the project in one: company-profiles COMMAND.

    company-profiles extract --input documents/ --output out/
    company-profiles --install-completion

Each is also a script, such as jobs/extract.py, with the same flags and exit codes.
"""

import sys
from collections.abc import Sequence

from jobs import backfill, benchmark, calibrate, demo, evaluate, extract, preflight, report, show, submit
from jobs.cli.command import HELP_FLAGS, command, enter
from jobs.cli.flags import HELP

MODULES = (extract, backfill, evaluate, calibrate, preflight, report, show, benchmark, demo, submit)
COMMANDS = {module.__name__.rpartition(".")[2]: module for module in MODULES}
app = command("company-profiles", __doc__)
for name, module in COMMANDS.items():
    app.command(module.app, name=name)
app.register_install_completion_command(group=HELP, help="Complete commands and flags in the shell.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command with its own main function, which knows its errors; --help is for the app."""
    words = list(sys.argv[1:] if argv is None else argv)
    if HELP_FLAGS.intersection(words) or not words or words[0] not in COMMANDS:
        return enter(app, words)
    return int(COMMANDS[words[0]].main(words[1:]))
