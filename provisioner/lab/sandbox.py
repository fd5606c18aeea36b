"""Running the build of a root so that no mount, daemon or download of it outlives this process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from provisioner.lab.command import failure

# Everything runs in a process namespace whose first process dies with us, and its mounts die with it.
_CONTAIN = (
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"),
)

_IN_LAYER = """\
set -e
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/merged"
mount -t proc proc "$2/merged/proc"
mount --bind /etc/resolv.conf "$2/merged/etc/resolv.conf"
mount --bind /etc/hosts "$2/merged/etc/hosts"
merged=$2/merged
shift 2
exec chroot "$merged" /bin/sh -c "$@"
"""


def contained(
    argv: Sequence[str], env: Mapping[str, str], line: Callable[[str], None], hint: str = ""
) -> None:
    """Runs the command, giving each line of its output to `line`.

    Raises ProvisionError with the last of them.
    """
    with subprocess.Popen(
        [*_CONTAIN, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
    ) as process:
        output = []
        for text in process.stdout or ():
            output.append(text)
            line(text.rstrip("\n"))
    if process.returncode:
        raise failure(argv[:1], process.returncode, "".join(output), hint)


def in_layer(
    lower: Path,
    layer: Path,
    script: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    line: Callable[[str], None],
    hint: str = "",
) -> None:
    """Runs `script` under /bin/sh in the root `lower`; what it changes ends up in `layer`/upper."""
    for name in ("upper", "work", "merged"):
        (layer / name).mkdir(parents=True, exist_ok=True)
    inside = ["sh", "-c", _IN_LAYER, "layer", str(lower), str(layer), script, "layer", *arguments]
    contained(inside, env, line, hint)
