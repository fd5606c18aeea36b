"""Who made a bundle: a signature of its index.json, in minisign's format.

The index alone is signed: it names every manifest by its digest, and they every blob. So one signature is right for the
directory and for the file, it is checked before anything else is read, and to sign or to check gigabytes takes no time.
In a directory it lies as index.json.minisig, where `minisign -Vm index.json` finds it; of a FILE it lies beside it as
FILE.minisig, or is within it, where a signed directory was packed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from provisioner.bundle.contents import AGAIN, INDEX, SIGNATURE, Piece, read_contents, read_head
from provisioner.bundle.minisign import PublicKey, SecretKey, Signature, check
from provisioner.bundle.oci import digest_of
from provisioner.bundle.references import follow
from provisioner.bundle.store import write_atomically
from provisioner.errors import ProvisionError

_LIMIT = 64 << 10
_SIGN = "`provision bundle sign` makes one; without a public key no signature is asked for"
_OTHER = "was the right key named? Otherwise trust nothing of this bundle"


def signature_path(path: Path) -> Path:
    """Where the signature of the bundle at `path` is written."""
    return path.with_name(f"{path.name}.minisig") if path.is_file() else path / SIGNATURE


def read_public_key(text: str, folder: Path | None = None) -> PublicKey:
    """Of the key itself, or of the path (from `folder`) of a file that has it. Raises ProvisionError."""
    try:
        return PublicKey.parse(text)
    except ValueError:
        pass
    path = (folder or Path()) / Path(text).expanduser()
    try:
        return PublicKey.parse(path.read_bytes()[:_LIMIT].decode())
    except OSError as error:
        reason = f"{text} is no public key of minisign, and no file that can be read: {error.strerror}"
        raise ProvisionError(reason, "name NAME.pub, or its second line") from None
    except ValueError:
        raise ProvisionError(
            f"{path} is no public key of minisign", "name NAME.pub, or its second line"
        ) from None


def check_signature(path: Path, key: PublicKey) -> tuple[bytes, str]:
    """The index of the bundle at `path` and the signature's trusted comment. Raises ProvisionError unless the holder of
    `key` signed that index; nothing else of the bundle was read then."""
    written, faults = signature_path(path), []
    try:
        head = read_head(path) if path.is_file() else read_contents(path).pieces
        index = _index(head)
        if path.is_file() and written.is_file():
            # Within it may be another one, of the directory that was packed: either will do.
            head = {"beside": Piece(written, 0, written.stat().st_size, written), **head}
        for piece in (head[name] for name in ("beside", SIGNATURE) if name in head):
            try:
                signature = Signature.parse(piece.read(_LIMIT))
                check(signature, index, key)
            except ValueError as error:
                faults.append(f"{path}: the signature {error}")
            else:
                return index, signature.comment
    except ValueError as error:
        raise ProvisionError(f"{path}: {INDEX}: {error}", _OTHER) from None
    except OSError as error:
        raise ProvisionError(f"{error.filename} cannot be read: {error.strerror}") from error
    if faults:
        raise ProvisionError(faults[0], _OTHER)
    raise ProvisionError(f"the bundle {path} is not signed: there is no {written.name}", _SIGN)


def _index(head: Mapping[str, Piece]) -> bytes:
    if INDEX not in head:
        raise ValueError("is missing")
    return head[INDEX].read()


def sign(
    path: Path, key_file: Path, passphrase: Callable[[], bytes], comment: str = ""
) -> tuple[Path, PublicKey]:
    """Signs the bundle at `path`; returns where the signature is, and the public key that it is of. `comment` is signed
    with it; without one it names the index by its digest. Raises ProvisionError."""
    try:
        key = SecretKey.parse(key_file.read_bytes(), passphrase)
        head = read_head(path) if path.is_file() else read_contents(path).pieces
        index = _index(head)
        if faults := follow(read_contents(path)).faults:
            # A bundle that nobody could be installed from is not vouched for.
            raise ProvisionError("\n".join(f"{path}: {fault}" for fault in faults), AGAIN)
        told = comment or f"file:{INDEX} {digest_of(index)}"
        if not told.isprintable():
            raise ProvisionError("the comment is more than one line of printable text")
        target = signature_path(path)
        write_atomically(target, key.sign(index, told).encode())
    except ValueError as error:
        raise ProvisionError(f"{key_file} {error}", "`minisign -G -s KEYFILE` makes one") from None
    except OSError as error:
        raise ProvisionError(f"{error.filename or path}: {error.strerror}") from error
    return target, key.public
