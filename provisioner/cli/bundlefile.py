"""`provision bundle pack`, `sign` and `diff`: what is done with bundles that are carried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from provisioner.engine.events import Emit, Note, silent

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("bundle", type=_PATH, required=False)
@click.option("-o", "--output", type=_PATH, required=True, help="The file, NAME.tar.")
@click.pass_context
def pack(ctx: click.Context, bundle: Path | None, output: Path) -> None:
    """Write BUNDLE (by default the last one built) as one file: the same content as the same bytes."""
    from provisioner.bundle.layout import default_bundle_path
    from provisioner.bundle.tarball import pack as write

    emit = silent if ctx.obj is None else ctx.obj.emit
    size = write(bundle or default_bundle_path(), output, emit)
    emit(Note(message=f"{output}  {size / 1e6:.0f} MB"))


@click.command()
@click.argument("bundle", type=_PATH)
@click.option("--key", type=_PATH, required=True, metavar="KEYFILE", help="A secret key of minisign.")
@click.option(
    "--passphrase-file",
    type=_PATH,
    metavar="FILE",
    help="Its first line opens the key, in place of a question.",
)
@click.option("--comment", default="", help="The trusted comment, which is signed, too.")
@click.pass_context
def sign(ctx: click.Context, bundle: Path, key: Path, passphrase_file: Path | None, comment: str) -> None:
    """Sign BUNDLE, a directory or a file, in minisign's format.

    What is signed is its index.json, which names all else by digest: `minisign -Vm index.json` checks it, too. In a
    directory the signature is index.json.minisig; of a file it is FILE.minisig beside it, or within it that of the
    directory that was packed.
    """
    from provisioner.bundle.signed import sign as write

    emit = silent if ctx.obj is None else ctx.obj.emit
    path, public = write(bundle, key, _passphrase(passphrase_file, ctx), comment)
    emit(Note(message=f"{path}  of the key {public.name}, whose public key is {public}"))


def show_difference(before: Path, after: Path, emit: Emit, *, as_json: bool) -> bool:
    """What came, went and changed from one bundle to the other; whether anything did. Files are not unpacked."""
    from provisioner.bundle.difference import difference
    from provisioner.bundle.open import read_bundle
    from provisioner.report.bundle import difference_lines, difference_value
    from provisioner.report.listing import show_json

    found = difference(read_bundle(before), read_bundle(after))
    if as_json:
        show_json(difference_value(found))
    else:
        for line in difference_lines(found):
            emit(Note(message=line))
    return bool(found)


def _passphrase(file: Path | None, ctx: click.Context) -> Callable[[], bytes]:
    def ask() -> bytes:
        from provisioner.errors import ProvisionError

        if file is None:
            with ctx.obj.pause():
                return str(click.prompt("passphrase of the key", hide_input=True, err=True)).encode()
        try:
            return file.read_bytes().split(b"\n")[0].rstrip(b"\r")
        except OSError as error:
            raise ProvisionError(f"{file} cannot be read: {error.strerror}") from error

    return ask
