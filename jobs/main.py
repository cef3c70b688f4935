"""All commands of the project in one: company-profiles COMMAND.

    company-profiles extract --input documents/ --output out/
    company-profiles --install-completion

Each is also a script, such as jobs/extract.py, with the same flags and exit codes.
"""

from functools import partial

from jobs import backfill, benchmark, calibrate, demo, evaluate, extract, preflight, report, show, submit
from jobs.cli.command import command, enter
from jobs.cli.flags import HELP

MODULES = (extract, backfill, evaluate, calibrate, preflight, report, show, benchmark, demo, submit)
COMMANDS = {module.__name__.rpartition(".")[2]: module for module in MODULES}
app = command("company-profiles", __doc__)
for name, module in COMMANDS.items():
    app.command(module.app, name=name)
app.register_install_completion_command(group=HELP, help="Complete commands and flags in the shell.")
main = partial(enter, app)
