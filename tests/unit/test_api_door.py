"""The door before an API server, run by a real shell: who shuts it when. nft writes down what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.playbook.render import render_file

ROOT = Path(__file__).parents[2]
REJECT = "tcp dport 6443"


class Door:
    """Its script with a pipe and tools of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._told = folder / "told"
        tools = folder / "tools"
        tools.mkdir()
        nft = tools / "nft"
        nft.write_text(
            f'#!/bin/sh\n[ "$1" = -f ] && cat >{self._told}.new && mv {self._told}.new {self._told}\n'
        )
        nft.chmod(0o755)
        self.pipe = folder / "alive"
        text = render_file(ROOT / "templates/control-plane/api-door.j2", {"pki": "/pki", "balancing": ""})
        for old, new in (
            ("/run/provision-api-alive", str(self.pipe)),
            ("/opt/kubernetes/bin/kubectl", "true"),
        ):
            assert old in text
            text = text.replace(old, new)
        self._script = folder / "api-door"
        self._script.write_text(text)
        self._environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, word: str) -> None:
        pid = str(self._server.pid) if self._server else ""
        subprocess.run(
            ["sh", self._script, word], env={**self._environment, "MAINPID": pid}, check=True, timeout=20
        )

    def serve(self) -> int:
        """Starts a server behind it, as systemd does; its process id."""
        self.run("shut")
        argv = ["sh", str(self._script), "run", "sleep", "60"]
        self._server = subprocess.Popen(argv, env=self._environment, start_new_session=True)
        while self.child() is None:
            time.sleep(0.01)
        self._told.unlink()
        self.run("open")
        return self._server.pid

    def child(self) -> int | None:
        assert self._server
        said = subprocess.run(
            ["pgrep", "-P", str(self._server.pid), "sleep"], capture_output=True, text=True, check=False
        ).stdout
        return int(said) if said else None

    def shuts(self, seconds: float) -> bool:
        """Whether nft is told to turn others away, in that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # A file that is just being written is there before its text.
            if self._told.exists() and REJECT in self._told.read_text():
                return True
            time.sleep(0.01)
        return False

    def end(self) -> None:
        if self._server:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path)
    yield made
    made.end()


def test_it_is_shut_while_the_server_starts(door: Door) -> None:
    door.run("shut")
    assert door.shuts(0.1)


def test_a_killed_server_shuts_it(door: Door) -> None:
    os.kill(door.serve(), signal.SIGKILL)
    assert door.shuts(5)


def test_it_stays_open_while_the_server_lives(door: Door) -> None:
    """Even when nobody watches any more."""
    door.serve()
    child = door.child()
    assert child
    os.kill(child, signal.SIGKILL)
    assert not door.shuts(0.5)


def test_it_leaves_nothing(door: Door) -> None:
    door.serve()
    door.run("gone")
    assert not door.pipe.exists()
