"""A node in namespaces of its own: a lab's root with a network and mounts that nobody else sees, without an init."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netnshosts import debian

_SETUP = """
set -eu
mount -t tmpfs none "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o "lowerdir=$2,upperdir=upper,workdir=work" none root
mount -t proc none root/proc
mount -t sysfs none root/sys
mount -t tmpfs none root/sys/fs/bpf
mount --rbind /dev root/dev
mount -t tmpfs none root/run
mkdir root/run/lock
mkdir root/run/netns
mount --bind root/run/netns root/run/netns
mount --make-shared root/run/netns
cp "$3" root/usr/bin/busybox
echo ready
exec sleep infinity
"""


@dataclass(frozen=True)
class Node:
    pid: int
    root: Path

    def run(self, script: str, *, shell: str = "dash") -> str:
        """What it prints; it must end well and complain of nothing."""
        words = ["busybox", "ash", "-c"] if shell == "busybox" else [shell, "-c"]
        inside = ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "chroot", str(self.root), *words, script]
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (0, ""), f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        Path(f"/proc/{self.pid}/root{self.root}{path}").write_text(text)


@contextmanager
def node(folder: Path) -> Iterator[Node]:
    busybox = shutil.which("busybox")
    assert busybox is not None
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _SETUP]
    with subprocess.Popen(
        [*argv, "sh", str(folder), str(debian()), busybox], stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            pid = int(Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text())
            yield Node(pid, folder / "root")
        finally:
            started.kill()
