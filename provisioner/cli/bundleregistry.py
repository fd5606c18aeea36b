"""`provision bundle push`, and `diff` with a registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.options import OneOf
from provisioner.engine.events import Emit

if TYPE_CHECKING:
    from provisioner.action.pushing import Access
    from provisioner.bundle.minisign import PublicKey

_PATH = click.Path(path_type=Path)


def images_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--image, --json."""
    only = click.option(
        "--image", "images", multiple=True, metavar="NAME:TAG", help="Only this one (may be repeated)."
    )
    return only(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function))


def key_of(text: str | None) -> PublicKey | None:
    """The key that --public-key gives. Raises InputError."""
    if text is None:
        return None
    from provisioner.bundle.signed import read_public_key
    from provisioner.errors import InputError, Problem, ProvisionError

    try:
        return read_public_key(text)
    except ProvisionError as fault:
        raise InputError([Problem("--public-key", 0, 0, fault.reason, fault.hint)]) from None


def access_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--ca, --address, --username, --password-file, --password-command."""
    for option in (
        click.option(
            "--password-command", metavar="COMMAND", help="What it prints is the password; no shell runs it."
        ),
        click.option("--password-file", type=_PATH, metavar="FILE", help="A file with the password alone."),
        click.option("--username", metavar="NAME", help="The registry's account; without it, none."),
        click.option("--address", metavar="IP", help="Where the registry is, if not where DNS says."),
        click.option(
            "--ca", type=_PATH, metavar="FILE", help="The only authority trusted (PEM), not the system's."
        ),
    ):
        function = option(function)
    return function


@click.command()
@click.argument("bundles", type=_PATH, nargs=-1, metavar="[BUNDLE]...")
@click.option("--to", required=True, metavar="HOST[:PORT][/PROJECT]", help="The registry, over TLS.")
@click.option(
    "--create-project",
    "create",
    type=OneOf(("private", "public")),
    help="The registry is a Harbor: make its project unless it is there.",
)
@click.option("--force", is_flag=True, help="Move tags that name another image there.")
@click.option(
    "--public-key", metavar="KEY|FILE", help="First of all check that each was signed, in minisign's format."
)
@access_options
@images_options
def push(
    bundles: tuple[Path, ...],
    to: str,
    create: str | None,
    force: bool,
    public_key: str | None,
    as_json: bool,
    images: tuple[str, ...],
    **given: Any,
) -> None:
    """Push the images of BUNDLE (by default the last one built) to a registry, without a container engine.

    quay.io/calico/node:v3.28.1 becomes HOST/PROJECT/calico/node:v3.28.1, with the publisher's digest. What is there is
    not sent again: after a break the same command goes on. A tag that names another image there is not moved, and
    nothing is sent, without --force; images without a version (latest) are refused.
    """
    from provisioner.action.pushing import push as run
    from provisioner.report.choose import reporter

    with reporter(as_json) as report:
        key = key_of(public_key)
        run(bundles, images, _access(to, "--to", **given), report.emit, create, key, force=force)


@click.command()
@click.argument("before", type=_PATH, metavar="A")
@click.argument("other", metavar="B|REGISTRY")
@access_options
@images_options
def diff(before: Path, other: str, as_json: bool, images: tuple[str, ...], **given: Any) -> None:
    """Show what came, went and changed from bundle A to B, or which images of A a REGISTRY lacks or has otherwise
    (HOST[:PORT][/PROJECT]). Nothing is moved, and files are not unpacked.

    Exit codes, as those of `provision plan`: 0 nothing differs, 2 something does; 1 one of them could not be read.
    """
    from provisioner.cli.bundlefile import show_difference
    from provisioner.report.choose import reporter

    with reporter(as_json=False) as report:
        if _is_bundle(other):
            _check_plain(images, given)
            differs = show_difference(before, Path(other), as_json=as_json)
        else:
            access = _access(other, "REGISTRY", **given)
            differs = _differs(before, images, access, report.emit, as_json=as_json)
    raise click.exceptions.Exit(2 if differs else 0)


def _is_bundle(text: str) -> bool:
    """Else it is a registry: of what is not there the look decides."""
    return Path(text).exists() or text.startswith(("/", ".", "~")) or text.endswith(".tar")


def _check_plain(images: tuple[str, ...], given: dict[str, Any]) -> None:
    if images or any(given.values()):
        raise click.UsageError(
            "--image and how to log in go with a REGISTRY: two bundles are compared as they are"
        )


def _differs(bundle: Path, images: tuple[str, ...], access: Access, emit: Emit, *, as_json: bool) -> bool:
    from provisioner.action.pushing import compared
    from provisioner.registry.compare import SAME, comparison_lines, comparison_value
    from provisioner.report.listing import show_json
    from provisioner.report.result import say

    found = compared(bundle, images, access, emit)
    if as_json:
        show_json(comparison_value(found))
    else:
        for line in comparison_lines(found):
            say(line)
    return any(each.state != SAME for each in found)


@click.command()
@click.argument("name")
@click.option(
    "--to", required=True, metavar="HOST[:PORT]/PROJECT", help="The Harbor and its project, over TLS."
)
@click.option(
    "-o", "--output", type=_PATH, required=True, metavar="FILE", help="Where its secret goes, mode 0600."
)
@click.option("--days", type=click.IntRange(min=1), help="How long it lives; without it, without end.")
@access_options
def robot(name: str, to: str, output: Path, days: int | None, **given: Any) -> None:
    """Make the robot account NAME of a Harbor's project, which may pull and push there and nothing else.

    Harbor shows its secret this once. For the spec: username: what is printed, password: !secret {file: FILE}.
    """
    from provisioner.action.pushing import robot as run

    click.echo(run(_access(to, "--to", **given), name, days or -1, output))


def _access(
    target: str,
    option: str,
    ca: Path | None,
    address: str | None,
    username: str | None,
    password_file: Path | None,
    password_command: str | None,
) -> Access:
    from provisioner.action.pushing import Access
    from provisioner.errors import InputError, Problem
    from provisioner.inventory.secrets import Secret
    from provisioner.registry.target import Target

    if password_file and password_command:
        reason = "the password comes from a file or from a command"
        raise InputError([Problem("--password-command", 0, 0, reason, "leave one of them out")])
    secret = None
    if password_file:
        secret = Secret("file", str(password_file), file="--password-file")
    elif password_command:
        secret = Secret("command", password_command, file="--password-command")
    return Access(Target.parse(target, option), ca, address, username, secret)
