"""`provision bundle`: build, inspect and verify the bundle that clusters are installed from, and what else is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.bundlefile import given, pack, sign
from provisioner.cli.bundleregistry import diff, key_of, push, robot
from provisioner.cli.options import OneOf
from provisioner.engine.events import Emit, silent

if TYPE_CHECKING:
    from provisioner.bundle.layout import Artifact, Image
    from provisioner.bundle.minisign import PublicKey
    from provisioner.bundle.packages import OsPackages

_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")


def _site_options(function: Callable[..., None]) -> Callable[..., None]:
    """What the hosts of --for INVENTORY are."""
    facts = click.option(
        "--facts",
        type=click.Path(path_type=Path),
        help="With --for: its hosts, as `render --save-facts` wrote them.",
    )
    systems = click.option(
        "--os",
        "systems",
        multiple=True,
        metavar="NAME",
        help="With --for: their distribution (debian-12), without facts.",
    )
    return facts(systems(function))


@click.group("bundle", commands=[pack, sign, push, diff, robot])
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make and look at the bundle: every binary, image and manifest of a cluster in one place."""
    from provisioner.report.choose import reporter

    ctx.obj = ctx.with_resource(reporter(as_json=False))


@command.command()
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option(
    "--source",
    type=OneOf(("auto", "release", "module", "file")),
    default="auto",
    show_default=True,
    help="Publishers' releases, builds of Go modules, releases where the publisher answers; file: --from alone.",
)
@click.option(
    "-o",
    "--output",
    type=_PATH,
    help="Where to write it, in place of the user's cache: a directory, or one file, NAME.tar.",
)
@click.option(
    "--for",
    "inventory",
    type=click.Path(path_type=Path),
    metavar="INVENTORY",
    help="What this inventory's cluster is installed from, and nothing else; through its http_proxy.",
)
@_site_options
@click.option(
    "--with",
    "requested",
    multiple=True,
    metavar="NAME",
    help="Also the images that only their publisher has, of the plug-in NAME (cilium).",
)
@click.option(
    "--from",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Also what this archive of images, file or folder has, in place of what would be made of it.",
)
@_JSON
@click.pass_context
def build(
    ctx: click.Context,
    components: tuple[str, ...],
    source: str,
    output: Path | None,
    inventory: Path | None,
    facts: Path | None,
    systems: tuple[str, ...],
    requested: tuple[str, ...],
    files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Build the bundle, or one of the named COMPONENTs only. What is cached is not built again."""
    from provisioner.bundle import build as building

    emit = _emit(ctx.obj)
    _check_site(inventory, facts, systems, components, requested)
    if source == "file" and not files:
        raise click.UsageError("--source file takes what --from names")
    if output is not None:
        from provisioner.bundle.target import check_target

        check_target(output)
    if inventory is not None:
        from provisioner.action.bundlefor import Site, build_for
        from provisioner.action.proxied import use_proxy_of

        use_proxy_of(inventory, emit)
        bundle = build_for(
            Site(inventory, facts, systems), source=source, output=output, emit=emit, files=files
        )
    else:
        bundle = building.build(
            components=components or None,
            source=source,
            output=output,
            emit=emit,
            requested=requested,
            files=files,
        )
    from provisioner.report.result import tell

    tell(
        {"path": str(bundle.path), "digest": bundle.digest},
        f"{bundle.path}  {bundle.digest}",
        as_json=as_json,
    )


def _check_site(
    inventory: Path | None,
    facts: Path | None,
    systems: tuple[str, ...],
    components: tuple[str, ...] = (),
    requested: tuple[str, ...] = (),
) -> None:
    """Raises UsageError for options that do not go together."""
    if inventory is None and (facts or systems):
        raise click.UsageError("--facts and --os say what the hosts of --for INVENTORY are")
    if facts and systems:
        raise click.UsageError("--facts says what the hosts are, so leave --os out")
    if inventory is not None and (components or requested):
        raise click.UsageError("--for INVENTORY says what is wanted: leave COMPONENT and --with out")


@command.command()
@click.argument("path", type=_PATH, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
def inspect(path: Path | None, as_json: bool) -> None:
    """List what the bundle at PATH (by default the last one built) has, and where each part is from.

    PATH is a directory or a file, which is not unpacked.
    """
    from provisioner.bundle.layout import Artifact
    from provisioner.bundle.open import read_bundle
    from provisioner.report.result import say

    bundle = read_bundle(given(path))
    if as_json:
        from provisioner.report.bundle import bundle_value
        from provisioner.report.listing import show_json

        show_json(bundle_value(bundle))
        return
    for content in bundle.contents:
        say(_line(content))
        for image in bundle.lacking(content) if isinstance(content, Artifact) else ():
            say(f"  lacks {image}")
    say(f"{bundle.path}  {bundle.digest}")


@command.command()
@click.argument("path", type=_PATH, required=False)
@click.option(
    "--public-key", metavar="KEY|FILE", help="First of all check that it was signed, in minisign's format."
)
@click.option(
    "--for",
    "inventory",
    type=click.Path(path_type=Path),
    metavar="INVENTORY",
    help="Also that it has all that this inventory's cluster is installed from.",
)
@_site_options
@_JSON
@click.pass_context
def verify(
    ctx: click.Context,
    path: Path | None,
    public_key: str | None,
    inventory: Path | None,
    facts: Path | None,
    systems: tuple[str, ...],
    as_json: bool,
) -> None:
    """Prove that the bundle at PATH, a directory or a file, is whole: all digests and references, and nothing else."""
    from provisioner.bundle import verify as verification
    from provisioner.report.listing import show_json
    from provisioner.report.result import say

    emit = _emit(ctx.obj)
    _check_site(inventory, facts, systems)
    path = given(path)
    told = _untold if as_json else say
    value: dict[str, Any] = {"path": str(path)}
    if key := _key(public_key, inventory):
        from provisioner.bundle.signed import check_signature

        _, comment = check_signature(path, key)
        value |= {"signed_by": key.name, "comment": comment}
        told(f"{path} is signed by {key.name}: {comment}")
    proved = verification.verify(path, emit)
    value |= {"digest": proved.digest, "size": proved.size, "seconds": round(proved.seconds, 3)}
    speed = proved.size / max(proved.seconds, 1e-9) / 1e9
    took = f"{proved.size / 1e6:.0f} MB in {proved.seconds:.1f} s ({speed:.1f} GB/s)"
    told(f"{path} is whole: {took}, {proved.digest}")
    if inventory is not None:
        from provisioner.action.bundlefor import Site, prove_complete_for
        from provisioner.bundle.open import open_bundle

        prove_complete_for(Site(inventory, facts, systems), open_bundle(path, emit), emit)
        value["complete_for"] = str(inventory)
        told(f"{path} has all that {inventory} asks for")
    if as_json:
        show_json(value)


def _untold(_line: str) -> None:
    """The value has it."""


def _key(text: str | None, inventory: Path | None) -> PublicKey | None:
    """The one that is given, else the inventory's."""
    if text is not None or inventory is None:
        return key_of(text)
    from provisioner.action.source import key_for

    return key_for(inventory)


def _emit(context: Any) -> Emit:
    """The root command's outlet; nothing is said when the group runs without it."""
    return silent if context is None else context.emit


def _line(content: Artifact | Image | OsPackages) -> str:
    from provisioner.bundle.layout import Image
    from provisioner.bundle.packages import OsPackages

    if isinstance(content, OsPackages):
        title = f"packages of {content.name}"
        count = f"{len(content.packages)} packages of the distribution's archive"
        return f"{title:<56} {content.platform}  {content.size / 1e6:7.1f} MB  {count}"
    if isinstance(content, Image):
        name, size = content.reference, sum(blob.size for blob in content.blobs)
    else:
        name, size = f"{content.name} {content.version}", content.size
    origin = f"{content.source} {content.module}".rstrip()
    return f"{name:<56} {content.platform}  {size / 1e6:7.1f} MB  {origin}"
