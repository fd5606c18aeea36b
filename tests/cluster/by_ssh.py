"""Hosts of a lab as people reach them: by ssh, with tar and a shell. Nothing of `provision` is used."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Content = bytes | Path
Files = dict[str, tuple[Content, int]]
"""Content and mode by path."""


@dataclass(frozen=True)
class ByShell:
    """`folder` is the lab's, with its key and known hosts; hosts are named by address."""

    folder: Path

    def send(self, address: str, files: Files) -> None:
        """Raises AssertionError when they did not all arrive."""

        def write(stream: IO[bytes]) -> None:
            with tarfile.open(fileobj=stream, mode="w|") as tar:
                for path, (content, mode) in files.items():
                    add(tar, path, content, mode)

        self.feed(address, "tar -xf - -C / --no-same-owner", write)

    def feed(self, address: str, command: str, write: Callable[[IO[bytes]], None]) -> None:
        """Runs the command with what is written as its input. Raises AssertionError when it fails."""
        argv = [*self._ssh(address), command]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            assert process.stdin
            write(process.stdin)
            process.stdin.close()
        assert process.returncode == 0, f"{address}: {command}"

    def run(self, address: str, script: str) -> str:
        """What the script prints. Raises AssertionError, with its last words, when it fails."""
        argv = [*self._ssh(address), "sh -eu"]
        done = subprocess.run(argv, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{address}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def _ssh(self, address: str) -> list[str]:
        known = f"UserKnownHostsFile={self.folder / 'known_hosts'}"
        return ["ssh", "-q", "-i", str(self.folder / "id_ed25519"), "-o", known, f"root@{address}"]


def add(tar: tarfile.TarFile, path: str, content: Content, mode: int = 0o644) -> None:
    """One more file of the archive, as of now."""
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode, entry.mtime = mode, int(time.time())
    if isinstance(content, Path):
        entry.size = content.stat().st_size
        with content.open("rb") as source:
            tar.addfile(entry, source)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
