"""Connecting ahead: a host is dialled once, and what went wrong is told where the session is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sshd import Sshd, serve

from provisioner.errors import UnreachableError
from provisioner.remote.frame import NICENESS
from provisioner.remote.pool import Pool
from provisioner.remote.route import UserConfig
from provisioner.shell.script import Script


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with serve(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def pool(server: Sshd, *names: str) -> Pool:
    connection = server.connection()
    bad = replace(connection, port=1)
    hosts = {name: bad if name == "bad" else connection for name in names}
    return Pool(hosts, known_hosts=server.known_hosts, config=UserConfig(None), limit=2)


def test_warm_hosts_are_dialled_once(server: Sshd) -> None:
    names = ["one", "two", "three"]
    with pool(server, *names) as opened:
        opened.warm(names)
        answers = opened.map(names, lambda session: session.run(Script("echo $PPID")).stdout)
        assert all(isinstance(answer, bytes) for answer in answers.values())
        assert len(server.connections()) >= 3
        assert opened.execs == 3


def test_scripts_yield_from_when_they_are_to(server: Sshd) -> None:
    def asked(opened: Pool, *names: str) -> set[int]:
        answers = opened.map(names, lambda session: int(session.run(Script("nice")).stdout))
        return {each for each in answers.values() if isinstance(each, int)}

    with pool(server, "one", "two") as opened:
        before = asked(opened, "one")
        opened.yield_to_others()
        assert asked(opened, "one", "two") == {NICENESS} != before


def test_a_host_that_was_not_reached_is_told_once_and_tried_anew(server: Sshd) -> None:
    with pool(server, "bad", "good") as opened:
        opened.warm(["bad", "good"])
        time.sleep(0.5)
        assert isinstance(opened.map(["bad"], lambda _: 0)["bad"], UnreachableError)
        with pytest.raises(UnreachableError, match="refused"):
            opened.session("bad")
        assert opened.session("good").alive


def test_closing_while_hosts_are_connected(server: Sshd) -> None:
    names = [f"host{number}" for number in range(12)]
    opened = pool(server, *names)
    opened.warm(names)
    opened.close()
    # Logins that are on their way end by themselves; one may be between two of its tries.
    deadline, seen = time.monotonic() + 60, time.monotonic()
    while time.monotonic() < seen + 2:
        seen = time.monotonic() if server.connections() else seen
        assert seen < deadline
        time.sleep(0.05)
