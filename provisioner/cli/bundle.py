"""`provision bundle`: build, inspect and verify the bundle that clusters are installed from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.bundleregistry import diff, push, robot
from provisioner.engine.events import Emit, Note, silent

if TYPE_CHECKING:
    from provisioner.bundle.layout import Artifact, Image
    from provisioner.bundle.packages import OsPackages

_PATH = click.Path(file_okay=False, path_type=Path)


@click.group("bundle", commands=[push, diff, robot])
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make and look at the bundle: every binary, image and manifest of a cluster in one place."""
    from provisioner.report.choose import reporter

    ctx.obj = ctx.with_resource(reporter(as_json=False))


@command.command()
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option(
    "--source",
    type=click.Choice(("auto", "release", "module")),
    default="auto",
    show_default=True,
    help="The publishers' releases, builds of the Go modules, or releases where the publisher answers.",
)
@click.option("-o", "--output", type=_PATH, help="Where to write it, in place of the user's cache.")
@click.option(
    "--for",
    "inventory",
    type=click.Path(path_type=Path),
    metavar="INVENTORY",
    help="Download through the http_proxy of this inventory's cluster.",
)
@click.option(
    "--with",
    "requested",
    multiple=True,
    metavar="NAME",
    help="Also the images that only their publisher has, of the plug-in NAME (cilium).",
)
@click.pass_context
def build(
    ctx: click.Context,
    components: tuple[str, ...],
    source: str,
    output: Path | None,
    inventory: Path | None,
    requested: tuple[str, ...],
) -> None:
    """Build the bundle, or one of the named COMPONENTs only. What is cached is not built again."""
    from provisioner.bundle import build as building

    emit = _emit(ctx.obj)
    if inventory is not None:
        from provisioner.action.proxied import use_proxy_of

        use_proxy_of(inventory, emit)
    bundle = building.build(
        components=components or None, source=source, output=output, emit=emit, requested=requested
    )
    emit(Note(message=f"{bundle.path}  {bundle.digest}"))


@command.command()
@click.argument("path", type=_PATH, required=False)
@click.pass_context
def inspect(ctx: click.Context, path: Path | None) -> None:
    """List what the bundle at PATH (by default the last one built) has, and where each part is from."""
    from provisioner.bundle.layout import Artifact, Bundle, default_bundle_path

    emit = _emit(ctx.obj)
    bundle = Bundle.open(path or default_bundle_path())
    for content in bundle.contents:
        emit(Note(message=_line(content)))
        for image in bundle.lacking(content) if isinstance(content, Artifact) else ():
            emit(Note(message=f"  lacks {image}"))
    emit(Note(message=f"{bundle.path}  {bundle.digest}"))


@command.command()
@click.argument("path", type=_PATH, required=False)
@click.pass_context
def verify(ctx: click.Context, path: Path | None) -> None:
    """Prove by their digests that all files of the bundle at PATH are whole."""
    from provisioner.bundle import verify as verification
    from provisioner.bundle.layout import Bundle, default_bundle_path

    emit = _emit(ctx.obj)
    bundle = Bundle.open(path or default_bundle_path())
    size = verification.verify(bundle, emit)
    emit(Note(message=f"{bundle.path} is whole: {size / 1e6:.0f} MB, {bundle.digest}"))


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
