"""Locks on a real sshd: one holder, named to others, gone at once when the holder dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sshd import Sshd, serve

from provisioner.errors import LockedError, ProvisionError
from provisioner.remote.lock import RemoteLock
from provisioner.remote.route import UserConfig
from provisioner.remote.session import Session, connect
from provisioner.shell.script import Script

NAME = f"test-{os.getpid()}"

_HOLDER = """\
import sys, time
from pathlib import Path
from provisioner.inventory.model import Connection
from provisioner.remote.hostkeys import KnownHosts
from provisioner.remote.lock import RemoteLock
from provisioner.remote.route import UserConfig
from provisioner.remote.session import connect
port, key, known, name, silence = sys.argv[1:]
hosts = KnownHosts.load([Path(known)])
login = Connection("127.0.0.1", int(port), user="root", key_file=Path(key))
dial = lambda: connect("state", login, known_hosts=hosts, config=UserConfig(None))
lock = RemoteLock(dial, name, "bob@elsewhere, pid 7, run 42", beat=0.3, silence=int(silence))
lock.acquire()
print("held", flush=True)
for line in sys.stdin:
    try:
        lock.ensure()
        print("still held", flush=True)
    except Exception as error:
        print(f"lost: {error}", flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve(tmp_path_factory.mktemp("sshd")) as running:
        yield running
    for path in Path("/run/provision").glob(f"{NAME}.*"):
        path.unlink()


def dial(server: Sshd) -> Session:
    return connect("state", server.connection(), known_hosts=server.known_hosts, config=UserConfig(None))


def lock(server: Sshd) -> RemoteLock:
    return RemoteLock(lambda: dial(server), NAME, "alice@desk, pid 123, run X", beat=0.2)


@pytest.fixture
def holder(server: Sshd, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Another controller that holds the lock; on the host it is given up after 2 s of silence,
    or as many as the test asks for."""
    assert server.known_hosts
    argv = [sys.executable, "-c", _HOLDER, str(server.port), str(server.client_key)]
    argv += [str(server.folder / "known_hosts"), NAME, str(getattr(request, "param", 2))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def folders() -> set[Path]:
    """Where scripts that hold this lock, or ask for it, are on the host; others have folders beside them."""
    found = set()
    for path in Path("/run").glob("provision.*/main"):
        with suppress(FileNotFoundError):
            if path.read_text().startswith(f"NAME={NAME}\n"):
                found.add(path.parent)
    return found


def gone(folders: set[Path]) -> None:
    until = time.monotonic() + 20.0
    while left := {path for path in folders if path.exists()}:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def acquire_within(server: Sshd, seconds: float) -> float:
    """How long it takes until the lock can be had; it is released again."""
    started = time.monotonic()
    while True:
        try:
            with lock(server):
                return time.monotonic() - started
        except LockedError:
            if time.monotonic() - started > seconds:
                raise


def test_the_second_is_told_who_holds_it(server: Sshd) -> None:
    with lock(server) as first:
        with pytest.raises(
            LockedError, match=r"held by alice@desk, pid 123, run X, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        ) as caught:
            lock(server).acquire()
        assert caught.value.exit_code == 5
        first.ensure()
    with first as again:
        again.ensure()
    with pytest.raises(LockedError, match="not held"):
        again.ensure()


def test_it_is_free_when_release_returns(server: Sshd) -> None:
    with dial(server) as session:
        for _ in range(5):
            lock_file = f"/run/provision/{NAME}.lock"
            with lock(server):
                assert session.run(Script(f"flock -n {lock_file} true")).status == 1
            assert session.run(Script(f"flock -n {lock_file} true")).status == 0


def test_other_names_are_other_locks(server: Sshd) -> None:
    with lock(server), RemoteLock(lambda: dial(server), f"{NAME}.b", "x") as other:
        other.ensure()


@pytest.mark.parametrize("holder", [60], indirect=True)
def test_a_killed_controller_frees_it_at_once(server: Sshd, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(LockedError, match="bob@elsewhere"):
        lock(server).acquire()
    before = folders()
    assert before
    holder.send_signal(signal.SIGKILL)
    assert acquire_within(server, 20.0) < 20.0
    gone(before)


def test_a_beating_holder_outlasts_the_silence(server: Sshd, holder: subprocess.Popen[str]) -> None:
    time.sleep(3)
    with pytest.raises(LockedError):
        lock(server).acquire()
    assert ask(holder) == "still held\n"


def test_a_hanging_controller_loses_it_and_learns_that(server: Sshd, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    try:
        waited = acquire_within(server, 60.0)
    finally:
        holder.send_signal(signal.SIGCONT)
    assert waited > 0.5
    time.sleep(0.3)
    assert ask(holder).startswith("lost: the lock")


@pytest.mark.parametrize("holder", [60], indirect=True)
def test_a_holder_that_is_known_to_be_over_is_not_waited_for(
    server: Sshd, holder: subprocess.Popen[str]
) -> None:
    """It hangs; for the host it may as well live."""
    asked: list[str] = []

    def over(said: str, known: bool) -> bool:
        asked.append(said)
        return known

    def taker(known: bool) -> RemoteLock:
        return RemoteLock(lambda: dial(server), NAME, "alice", over=lambda said: over(said, known))

    before = folders()
    assert before
    holder.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(LockedError, match="bob@elsewhere"):
            taker(False).acquire()
        started = time.monotonic()
        with taker(True) as taken:
            assert time.monotonic() - started < 20.0, "it waited for the silence"
            taken.ensure()
            gone(before)
            with pytest.raises(LockedError, match="held by alice"):
                taker(False).acquire()
    finally:
        holder.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    assert ask(holder).startswith("lost: the lock")
    assert [said.split(",")[0] for said in asked] == ["bob@elsewhere", "bob@elsewhere", "alice"]


def test_a_host_that_goes_takes_the_lock_with_it(server: Sshd) -> None:
    with lock(server) as held:
        for pid in server.connections():
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 60
        while held.held and time.monotonic() < until:
            time.sleep(0.05)
        with pytest.raises(LockedError, match="was lost"):
            held.ensure()


@pytest.mark.parametrize("name", ["", "../x", "a b", "-n", "a;b"])
def test_names(server: Sshd, name: str) -> None:
    with pytest.raises(ProvisionError):
        RemoteLock(lambda: dial(server), name, "x")


def ask(holder: subprocess.Popen[str]) -> str:
    assert holder.stdin
    assert holder.stdout
    holder.stdin.write("?\n")
    holder.stdin.flush()
    return holder.stdout.readline()
