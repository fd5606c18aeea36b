"""The command line. Each command is a file that is imported only when it is called."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import click

from provisioner import __version__
from provisioner.report.output import lost_output, tell_lost, watch_output

COMMANDS = {
    "init": "write a commented inventory to begin with",
    "advise": "say which pod network suits a site, and why",
    "inventory": "show hosts, groups and variables as they are understood",
    "check": "say what would be in the way on the hosts, and between them; change nothing",
    "plan": "show what apply would change",
    "apply": "bring the hosts to what the inventory declares, and prove that pods talk",
    "verify": "read everything again and run the checks; change nothing",
    "status": "nodes, components, drift and certificates at one glance",
    "history": "the runs on record and what they changed",
    "repair": "find and mend faults of nodes' pod networks",
    "remove": "take a host out of the cluster, and clear it",
    "migrate": "change the pod network of a running cluster to another one",
    "reset": "take the whole cluster down to clean hosts",
    "kubeconfig": "write an admin kubeconfig that expires",
    "render": "write what would be sent to the hosts into a folder",
    "trust": "enrol the host keys of the inventory's hosts",
    "exec": "run a command on hosts",
    "bench": "measure a cluster's pod network",
    "bundle": "build and inspect the bundle of binaries and images",
    "lab": "throw-away hosts on this machine",
}


class _Lazy(click.Group):
    """Commands by name, imported on use: `--help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"provisioner.cli.{'exec_' if cmd_name == 'exec' else cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from provisioner.inventory.words import nearest

            near = nearest(args[0], COMMANDS)
            if near:
                raise click.UsageError(f"No such command '{args[0]}'. Did you mean '{near}'?") from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="provision")
def cli() -> None:
    """Brings up, changes and checks binary-deployed Kubernetes clusters over SSH.

    The inventory is the argument, else $PROVISION_INVENTORY, else ./inventory.yaml; `migrate`, `remove`, `reset`,
    `exec` and `advise` must be given it. Exit codes: 0 done or nothing to do, 1 failed, 2 `plan` found changes,
    `bundle diff` differences, `repair --look` faults, 3 the input is wrong, 4 hosts unreachable, 5 locked by another
    run, 130 interrupted.
    """


def main() -> None:
    """The entry point: runs a command and turns what it raises into words and an exit code."""
    # Most objects live as long as the program. Looking for garbage among them, while modules are imported and once
    # more at the end, was a sixth of an unchanged run's own time.
    gc.set_threshold(50_000, 20, 20)
    watch_output()
    try:
        status = _run()
    except OSError:
        if lost_output() is None:
            raise
        status = 1
    lost = lost_output()
    if lost is not None:
        tell_lost(lost)
        status = 1
    gc.freeze()
    sys.exit(status)


def _run() -> int:
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Exit as leave:
        status = leave.exit_code
    except click.Abort:
        status = _say("interrupted", 130)
    except KeyboardInterrupt:
        status = _say("interrupted", 130)
    except click.ClickException as error:
        status = _misused(error)
    except BrokenPipeError:
        status = 1
    except Exception as error:
        status = _explain(error)
    return status if isinstance(status, int) else 0


def _explain(error: Exception) -> int:
    from provisioner.errors import ProvisionError
    from provisioner.report.faults import tell

    if isinstance(error, OSError) and error.filename is not None:
        error = ProvisionError(f"{error.filename}: {error.strerror}")
    if not isinstance(error, ProvisionError):
        raise error
    tell(error, json=_wants_json())
    return error.exit_code


def _wants_json() -> bool:
    """Whether --json is among our own words; those after -- are a host's."""
    words = sys.argv[1:]
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _misused(error: click.ClickException) -> int:
    """The command line itself is wrong."""
    from provisioner.errors import InputError
    from provisioner.report.faults import tell_misuse

    tell_misuse(error, json=_wants_json())
    return InputError.exit_code


def _say(text: str, status: int) -> int:
    from provisioner.report.faults import tell_interrupted

    tell_interrupted(
        f"{text}: what was done stays done; the same command goes on", status, json=_wants_json()
    )
    return status
