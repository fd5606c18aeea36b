"""Logging in to a real sshd: keys, passwords, host keys, gateways, and errors that say what to do."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sshd import Sshd, account, keygen, serve

from provisioner.errors import UnreachableError
from provisioner.inventory.model import Connection
from provisioner.inventory.secrets import Secret
from provisioner.remote.dial import Timeouts
from provisioner.remote.hostkeys import HostKey, KnownHosts, Offered
from provisioner.remote.pool import Pool
from provisioner.remote.route import UserConfig
from provisioner.remote.session import Session, connect
from provisioner.shell.script import Script

USER, PASSWORD = "provtest-login", "s3cret word"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve(tmp_path_factory.mktemp("sshd"), passwords=True) as running:
        yield running


def log_in(server: Sshd, connection: Connection, known: KnownHosts | None = None) -> Session:
    hosts = server.known_hosts if known is None else known
    return connect("node1", connection, known_hosts=hosts, config=UserConfig(None))


def whoami(session: Session) -> str:
    with session:
        return session.run(Script("id -un")).stdout.decode().strip()


def test_password(server: Sshd) -> None:
    with account(USER, PASSWORD):
        login = server.connection(user=USER, key_file=None, password=Secret.text(PASSWORD))
        assert whoami(log_in(server, login)) == USER
        with pytest.raises(UnreachableError, match="tried the password") as caught:
            log_in(server, server.connection(user=USER, key_file=None, password=Secret.text("wrong")))
    assert "wrong" not in caught.value.reason
    assert "is ansible_password right" in caught.value.hint


def test_a_wrong_key_is_named(server: Sshd, tmp_path: Path) -> None:
    keygen(tmp_path / "other")
    with pytest.raises(
        UnreachableError, match=rf"node1: root@127.0.0.1:{server.port} refuses.*other"
    ) as caught:
        log_in(server, server.connection(key_file=tmp_path / "other"))
    assert "ansible_ssh_private_key_file" in caught.value.hint


def test_a_missing_key_is_named(server: Sshd, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"none .No such file"):
        log_in(server, server.connection(key_file=tmp_path / "none"))


def test_a_key_with_a_passphrase_comes_from_the_agent(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "locked"
    key.write_bytes(server.client_key.read_bytes())
    key.chmod(0o600)
    (tmp_path / "locked.pub").write_bytes((server.folder / "client_key.pub").read_bytes())
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "phrase", "-f", key], check=True, capture_output=True)
    with pytest.raises(UnreachableError, match="needs a passphrase"):
        log_in(server, server.connection(key_file=key))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        while subprocess.run(
            ["ssh-add", "-q", server.client_key], check=False, capture_output=True
        ).returncode:
            time.sleep(0.05)
        assert whoami(log_in(server, server.connection(key_file=key))) == "root"
        assert whoami(log_in(server, server.connection(key_file=None))) == "root"
    finally:
        agent.terminate()
        agent.wait(5)


def test_an_unknown_host_key_is_shown_and_can_be_enrolled(server: Sshd) -> None:
    with pytest.raises(UnreachableError, match="not known") as caught:
        log_in(server, server.connection(), KnownHosts())
    assert server.host_key.fingerprint in caught.value.reason
    assert "provision trust" in caught.value.hint
    with Pool({"h": server.connection()}, known_hosts=KnownHosts(), config=UserConfig(None)) as pool:
        assert pool.offered("h").key == server.host_key
    assert whoami(log_in(server, server.connection(host_key_checking=False), KnownHosts())) == "root"


def test_a_changed_host_key_stops_before_the_login(server: Sshd, tmp_path: Path) -> None:
    keygen(tmp_path / "other")
    kind, text = (tmp_path / "other.pub").read_text().split()[:2]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {kind} {text}\n")
    before = (server.folder / "log").read_text().count("Accepted")
    with pytest.raises(UnreachableError, match="HAS CHANGED") as caught:
        log_in(server, server.connection(), KnownHosts.load([tmp_path / "known"]))
    for key in (server.host_key, HostKey(kind, text)):
        assert key.fingerprint in caught.value.reason
    assert (server.folder / "log").read_text().count("Accepted") == before


def test_through_a_gateway(server: Sshd) -> None:
    login = server.connection(proxy_jump=f"root@127.0.0.1:{server.port}")
    names = [f"h{number}" for number in range(5)]
    before = (server.folder / "log").read_text().count("Accepted")
    with Pool(dict.fromkeys(names, login), known_hosts=server.known_hosts, config=UserConfig(None)) as pool:
        results = pool.map(names, lambda session: session.run(Script("echo there")).stdout)
        assert results == dict.fromkeys(names, b"there\n")
        assert pool.offered("h0") == Offered("127.0.0.1", server.port, server.host_key)
    # Five hosts and the one gateway that they share.
    assert (server.folder / "log").read_text().count("Accepted") - before == 6


def test_a_gateway_that_cannot_reach_the_host(server: Sshd) -> None:
    login = server.connection(port=1, proxy_jump=f"root@127.0.0.1:{server.port}")
    with pytest.raises(UnreachableError, match=r"jump host cannot reach 127\.0\.0\.1, port 1"):
        log_in(server, login)


def test_through_a_proxy_command(server: Sshd, tmp_path: Path) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(_RELAY)
    command = f"{sys.executable} {relay} %h %p"
    assert whoami(log_in(server, server.connection(proxy_command=command))) == "root"
    with pytest.raises(UnreachableError, match="hangs up before the login"):
        log_in(server, server.connection(proxy_command="false"))


def test_the_ssh_configuration_leads(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        f"Host node1\n HostName 127.0.0.1\n Port {server.port}\n"
        f" User root\n IdentityFile {server.client_key}\n"
    )
    config = UserConfig.load(tmp_path / "config")
    with connect("node1", Connection("node1"), known_hosts=server.known_hosts, config=config) as session:
        assert session.run(Script("echo here")).stdout == b"here\n"


@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1", "refused"), ("no-such-host.invalid", "does not resolve"), ("255.255.255.255", "port 1")],
)
def test_no_way(server: Sshd, address: str, words: str) -> None:
    with pytest.raises(UnreachableError, match=words) as caught:
        log_in(server, server.connection(address=address, port=1))
    assert caught.value.hint


def test_a_server_that_never_speaks(server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        login = server.connection(port=mute.getsockname()[1])
        started = time.monotonic()
        with pytest.raises(UnreachableError, match="says nothing for 1 s"):
            connect(
                "node1",
                login,
                known_hosts=KnownHosts(),
                config=UserConfig(None),
                timeouts=Timeouts(banner=1.0),
            )
        assert time.monotonic() - started < Timeouts().banner


def test_forty_logins_at_one_server_with_default_startups(server: Sshd) -> None:
    hosts = {f"h{number}": server.connection() for number in range(40)}
    with Pool(hosts, known_hosts=server.known_hosts, config=UserConfig(None)) as pool:
        results = pool.map(list(hosts), lambda session: session.run(Script("exit 3")).status)
        assert results == dict.fromkeys(hosts, 3)
        assert pool.execs == 40


@pytest.mark.parametrize("turn", [1, 2])
def test_many_logins_at_a_server_that_drops_the_third(tmp_path: Path, turn: int) -> None:
    with serve(tmp_path, startups="2:50:4") as narrow:
        hosts = {f"h{number}": narrow.connection() for number in range(16)}
        with Pool(hosts, known_hosts=narrow.known_hosts, config=UserConfig(None)) as pool:
            results = pool.map(list(hosts), lambda session: session.run(Script("exit 3")).status)
        assert results == dict.fromkeys(hosts, 3)
        assert "MaxStartups" in (narrow.folder / "log").read_text(), (
            "nothing was dropped: this proves nothing"
        )


def test_a_broken_session_is_made_anew_and_failures_are_per_host(server: Sshd) -> None:
    hosts = {"good": server.connection(), "bad": server.connection(port=1)}
    with Pool(hosts, known_hosts=server.known_hosts, config=UserConfig(None)) as pool:
        pool.session("good").close()
        results = pool.map(["good", "bad"], lambda session: session.run(Script("echo again")).stdout)
    assert results["good"] == b"again\n"
    assert isinstance(results["bad"], UnreachableError)


def test_an_interrupt_ends_the_workers_at_once(server: Sshd) -> None:
    hosts = {"a": server.connection(), "b": server.connection()}
    started = time.monotonic()

    def work(session: Session) -> int:
        if session.host == "a":
            time.sleep(0.3)
            raise KeyboardInterrupt
        return session.run(Script("sleep 30")).status

    with (
        Pool(hosts, known_hosts=server.known_hosts, config=UserConfig(None)) as pool,
        pytest.raises(KeyboardInterrupt),
    ):
        pool.map(["a", "b"], work)
    assert time.monotonic() - started < 20


def test_what_a_login_shell_says_is_not_output(server: Sshd) -> None:
    loud = server.public / "loud"
    loud.write_text('#!/bin/sh\necho welcome; echo warning >&2; exec /bin/sh "$@"\n')
    loud.chmod(0o755)
    with (
        account(USER, PASSWORD, login_shell=str(loud)),
        log_in(server, server.connection(user=USER)) as session,
    ):
        result = session.run(Script("echo out; echo err >&2"))
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


def test_an_account_without_a_shell_is_said(server: Sshd) -> None:
    with (
        account(USER, PASSWORD, login_shell="/usr/sbin/nologin"),
        log_in(server, server.connection(user=USER)) as session,
        pytest.raises(UnreachableError, match=r"login shell of \S+ runs no commands: .*not available"),
    ):
        session.run(Script("never"))


_RELAY = """\
import os, socket, sys, threading
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := os.read(0, 65536):
        peer.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while data := peer.recv(65536):
    os.write(1, data)
"""
