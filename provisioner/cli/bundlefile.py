"""`provision bundle pack`, `sign` and `diff`: what is done with bundles that are carried."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from provisioner.engine.events import silent

_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")


def given(path: Path | None) -> Path:
    """The bundle that an argument names; without one the last that was built. Raises InputError when it is nowhere."""
    from provisioner.bundle.layout import default_bundle_path
    from provisioner.errors import InputError, Problem

    if path is None:
        return default_bundle_path()
    if not path.exists():
        raise InputError([Problem(str(path), 0, 0, "there is no such file or folder")])
    return path


@click.command()
@click.argument("bundle", type=_PATH, required=False)
@click.option("-o", "--output", type=_PATH, required=True, help="The file, NAME.tar.")
@_JSON
@click.pass_context
def pack(ctx: click.Context, bundle: Path | None, output: Path, as_json: bool) -> None:
    """Write BUNDLE (by default the last one built) as one file: the same content as the same bytes."""
    from provisioner.bundle.tarball import pack as write
    from provisioner.bundle.target import check_target
    from provisioner.report.result import tell

    emit = silent if ctx.obj is None else ctx.obj.emit
    check_target(output, file=True)
    size = write(given(bundle), output, emit)
    tell({"path": str(output), "size": size}, f"{output}  {size / 1e6:.0f} MB", as_json=as_json)


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
@_JSON
@click.pass_context
def sign(
    ctx: click.Context, bundle: Path, key: Path, passphrase_file: Path | None, comment: str, as_json: bool
) -> None:
    """Sign BUNDLE, a directory or a file, in minisign's format.

    What is signed is its index.json, which names all else by digest: `minisign -Vm index.json` checks it, too. In a
    directory the signature is index.json.minisig; of a file it is FILE.minisig beside it, or within it that of the
    directory that was packed.
    """
    from provisioner.bundle.signed import sign as write
    from provisioner.report.result import tell

    path, public = write(given(bundle), given(key), _passphrase(passphrase_file, ctx), comment)
    value = {"signature": str(path), "key": public.name, "public_key": str(public)}
    tell(value, f"{path}  of the key {public.name}, whose public key is {public}", as_json=as_json)


def show_difference(before: Path, after: Path, *, as_json: bool) -> bool:
    """What came, went and changed from one bundle to the other; whether anything did. Files are not unpacked."""
    from provisioner.bundle.difference import difference
    from provisioner.bundle.open import read_bundle
    from provisioner.report.bundle import difference_lines, difference_value
    from provisioner.report.listing import show_json
    from provisioner.report.result import say

    found = difference(read_bundle(given(before)), read_bundle(given(after)))
    if as_json:
        show_json(difference_value(found))
    else:
        for line in difference_lines(found):
            say(line)
    return bool(found)


def _passphrase(file: Path | None, ctx: click.Context) -> Callable[[], bytes]:
    def ask() -> bytes:
        from provisioner.errors import InputError, Problem

        if file is None and not sys.stdin.isatty():
            reason = "the key is encrypted, and there is no terminal to ask for its passphrase at"
            raise InputError([Problem("--passphrase-file", 0, 0, reason, "name a file that has it")])
        if file is None:
            with ctx.obj.pause():
                return str(click.prompt("passphrase of the key", hide_input=True, err=True)).encode()
        try:
            return file.read_bytes().split(b"\n")[0].rstrip(b"\r")
        except OSError as error:
            reason = f"{file} cannot be read: {error.strerror}"
            raise InputError([Problem("--passphrase-file", 0, 0, reason)]) from error

    return ask
