"""How a script travels: one fixed command, then on its stdin one tar (the script and its small members), then
streams.

The command makes a private folder on the host, takes exactly the tar's bytes from stdin, unpacks and runs the
script with W naming the folder, stdin empty and the rest of the stream on file descriptor 3. The folder goes
when the script ends, however it ends. Before the script's first byte of output the command prints a mark on
both outputs, so that nothing a login shell or sudo says can be taken for the script's words.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from provisioner.errors import ProvisionError
from provisioner.shell.script import Blob, Script

NICENESS = 10
CHUNK = 32768 - 64
"""Bytes sent at a time: what fits one SSH packet, so that the library cuts nothing again."""

# No single quote, newline, backslash or exclamation mark may occur: the text stands in single quotes for any
# login shell, csh and fish included. What follows the tar on stdin is the script's, so exactly the tar is
# taken: by dd, for busybox's head reads ahead, and by way of a file, for tar may stop before its end.
# When the script cannot even be laid down, the mark comes once more, at the end of stderr.
# With nothing behind it the tar goes straight to tar. The mark, random and new each time, names the folder; mkdir
# takes no name that is there already. Each program spared is a millisecond a host and exec (mktemp, dd, a second sh):
# with ten hosts on two cores that was a fifth of an unchanged run.
# umask 077 is for the folder only; the script starts with 022.
BODY = (
    "umask 077; LC_ALL=C; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH; "
    'export LC_ALL PATH W; echo "$2"; echo "$2" >&2; '
    'W=/run/provision.$2; mkdir "$W" 2>/dev/null || { W=/tmp/provision.$2; mkdir "$W" || { echo "$2" >&2; exit 97; '
    "}; }; "
    'trap "rm -rf $W" EXIT; '
    'trap "exit 129" HUP; trap "exit 130" INT; trap "exit 141" PIPE; trap "exit 143" TERM; '
    '{ if [ "$1" = 0 ]; then tar -xf - -C "$W"; else '
    f'dd bs={tarfile.RECORDSIZE} count="$1" iflag=fullblock status=none of="$W/.tar" && '
    'tar -xf "$W/.tar" -C "$W"; fi && cd "$W"; } || { echo "$2" >&2; exit 98; }; umask 022; '
    "( . ./main ) 3<&0 </dev/null"
)


def command(size: int, mark: str) -> str:
    """The command for the login shell. `size` is the tar's, in bytes, 0 when nothing follows it; `mark` is what opens
    the output."""
    return f"exec /bin/sh -c '{BODY}' provision {records(size)} {mark}"


def yielding(script: Script) -> Script:
    """The same, at a niceness at which it gets what nothing else on the host wants, and a tenth of it otherwise. What
    systemd or a runtime starts for it is not its child, and has its own."""
    # Of the process that reads this: $$ is the one around it.
    own = f'read -r pid _ </proc/self/stat && renice -n {NICENESS} -p "$pid" >/dev/null 2>&1 || :\n'
    return replace(script, main=own + script.main)


def records(size: int) -> int:
    """The tar's size in its own records, in which the command counts."""
    return size // tarfile.RECORDSIZE


def archive(script: Script) -> bytes:
    """The tar: `main` and the payload's members, all 0600. Raises ProvisionError for a name that is none."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, "main", script.main.encode())
        folders: set[str] = set()
        for name, blob in script.payload.items():
            for folder in _folders(name):
                if folder not in folders:
                    folders.add(folder)
                    _add_folder(tar, folder)
            _add(tar, name, b"".join(chunks(blob)))
    return out.getvalue()


def chunks(blob: Blob) -> Iterator[bytes]:
    """The blob's bytes, at most CHUNK at a time. Raises OSError, ProvisionError for a file cut short."""
    if blob.data is not None:
        for start in range(0, len(blob.data), CHUNK):
            yield blob.data[start : start + CHUNK]
        return
    if blob.path is None:
        raise ProvisionError("a blob has neither data nor a file")
    left = blob.size
    with blob.path.open("rb", buffering=0) as file:
        while left and (data := file.read(min(CHUNK, left))):
            left -= len(data)
            yield data
    if left:
        raise ProvisionError(
            f"{blob.path} became shorter while it was sent: {left} of {blob.size} bytes are missing",
            "run again when nothing else writes to that file",
        )


def _folders(name: str) -> list[str]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name in ("", ".", "main", ".tar"):
        raise ProvisionError(f"a script's member cannot be named {name!r}")
    return [str(parent) for parent in reversed(path.parents) if str(parent) != "."]


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    info.mode = 0o700
    tar.addfile(info)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o600
    tar.addfile(info, io.BytesIO(data))
