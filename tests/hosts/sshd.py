"""A real sshd on loopback: an unprivileged port, its own host keys and configuration in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provisioner.inventory.model import Connection
from provisioner.remote.hostkeys import HostKey, KnownHosts, enrol

SSHD = Path("/usr/sbin/sshd")

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {public}/authorized_keys
PermitRootLogin yes
PasswordAuthentication {passwords}
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AllowTcpForwarding yes
MaxStartups {startups}
SetEnv SHLVL=2
"""


@dataclass(frozen=True)
class Sshd:
    """A running server: its port and pid, a client key that may log in as anybody, and its host key."""

    port: int
    folder: Path
    pid: int
    public: Path
    """A folder that every user can read."""
    address: str = "127.0.0.1"

    @property
    def client_key(self) -> Path:
        return self.folder / "client_key"

    @property
    def host_key(self) -> HostKey:
        kind, text = (self.folder / "host_key.pub").read_text().split()[:2]
        return HostKey(kind, text)

    @property
    def known_hosts(self) -> KnownHosts:
        path = self.folder / "known_hosts"
        enrol(path, self.address, self.port, self.host_key)
        return KnownHosts.load([path])

    def sessions(self) -> list[int]:
        """Pids of the processes that serve connections: every process below the listener."""
        found: list[int] = []
        todo = [self.pid]
        while todo:
            kids = _children(todo.pop())
            found += kids
            todo += kids
        return found

    def connections(self) -> list[int]:
        """The sshd processes of the connections, without the scripts they run."""
        return [pid for pid in self.sessions() if _name(pid) == "sshd"]

    def connection(self, **changes: Any) -> Connection:
        """root's login with the client key, but for `changes`."""
        root = Connection(self.address, self.port, user="root", key_file=self.client_key, timeout=5.0)
        return replace(root, **changes)


@contextmanager
def serve(
    folder: Path, *, passwords: bool = False, startups: str = "10:30:100", extra: Sequence[str] = ()
) -> Iterator[Sshd]:
    """Run sshd until the block ends; its connections are ended with it."""
    assert SSHD.exists(), "this tier needs sshd: `make hosts` installs it"
    assert os.geteuid() == 0, "this tier needs root"
    # sshd reads authorized_keys as the user who logs in, and pytest's folders are closed to others.
    with tempfile.TemporaryDirectory(prefix="provision-test-", dir="/run") as public:
        Path(public).chmod(0o755)
        with _serve(folder, Path(public), passwords, startups, extra) as running:
            yield running


@contextmanager
def _serve(
    folder: Path, public: Path, passwords: bool, startups: str, extra: Sequence[str]
) -> Iterator[Sshd]:
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "client_key"):
        keygen(folder / name)
    shutil.copy(folder / "client_key.pub", public / "authorized_keys")
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        _CONFIG.format(
            port=port,
            folder=folder,
            public=public,
            passwords="yes" if passwords else "no",
            startups=startups,
        )
        + "".join(f"{line}\n" for line in extra)
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log, stdin=subprocess.DEVNULL)
    server = Sshd(port, folder, process.pid, public)
    try:
        _await(port)
        yield server
    finally:
        for pid in (*server.sessions(), process.pid):
            _end(pid)
        process.wait(10)
        log.close()


@contextmanager
def account(name: str, password: str, *, login_shell: str = "/bin/sh", sudoers: str = "") -> Iterator[None]:
    """A user of this machine with a password and, with `sudoers`, a file of its own in /etc/sudoers.d."""
    rule = Path("/etc/sudoers.d") / name
    subprocess.run(["useradd", "-M", "-d", "/", "-s", login_shell, name], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{name}:{password}\n".encode(), check=True)
        if sudoers:
            rule.touch(mode=0o440)
            rule.write_text(sudoers + "\n")
            subprocess.run(["visudo", "-cqf", rule], check=True)
        yield
    finally:
        rule.unlink(missing_ok=True)
        subprocess.run(["userdel", "-f", name], check=True, capture_output=True)


def keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def _end(pid: int) -> None:
    for number in (signal.SIGCONT, signal.SIGTERM):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _name(pid: int) -> str:
    """Of the process; "" when it has ended meanwhile, as a connection of the test before may."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
