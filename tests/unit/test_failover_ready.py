"""What has to hold of load balancers before a fault, and after the last one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from provisioner.action import failoverready
from provisioner.action.failoverready import await_ready
from provisioner.action.failoversite import Site
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.remote.outcome import Result
from provisioner.shell.script import Script

Said = Result | Exception
HOLDER, BACKUP = Result(0, b"holder\n", b"", 0.0), Result(0, b"backup\n", b"", 0.0)
BROKEN = Result(1, b"", b"api-load-balancer does not run\n", 0.0)


class Hosts:
    """Stands for a pool: each host gives its answers in order, the last one again and again."""

    def __init__(self, said: Mapping[str, Sequence[Said]]) -> None:
        self.said = {host: list(each) for host, each in said.items()}
        self.host = ""

    def map(self, hosts: Sequence[str], work: Callable[[Any], Said]) -> dict[str, Said]:
        found = {}
        for self.host in hosts:
            found[self.host] = work(self)
        return found

    def run(self, script: Script, *, deadline: float) -> Said:
        del script, deadline
        answers = self.said[self.host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def site(lb1: Sequence[Said], lb2: Sequence[Said]) -> Site:
    pool = cast(Any, Hosts({"lb1": lb1, "lb2": lb2}))
    links = {"lb1": "eth0", "lb2": "eth0"}
    return Site(pool, "10.0.0.9", 6443, "10.0.0.9", links, {}, "worker1", "", lambda _: None)


def test_one_has_the_address() -> None:
    assert await_ready(site([BACKUP], [HOLDER])) == "lb2"


def test_one_that_is_being_handed_over_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failoverready, "_PAUSE", 0.0)
    assert await_ready(site([HOLDER, HOLDER, BACKUP], [HOLDER])) == "lb2"
    assert await_ready(site([BACKUP, BACKUP, HOLDER], [BACKUP])) == "lb1"


@pytest.mark.parametrize(
    ("lb1", "lb2", "after", "said"),
    [
        (HOLDER, HOLDER, "", "lb1 and lb2 had the address 10.0.0.9 while nothing was broken"),
        (BACKUP, BACKUP, "link cut", "none of lb1, lb2 had the address 10.0.0.9 after 'link cut' was undone"),
        (HOLDER, BROKEN, "", "lb2 could not take the address over: api-load-balancer does not run"),
        (
            BROKEN,
            HOLDER,
            "nginx stopped",
            "lb1 is not as it was before 'nginx stopped': api-load-balancer does not",
        ),
    ],
)
def test_what_is_wrong_names_the_host(
    monkeypatch: pytest.MonkeyPatch, lb1: Said, lb2: Said, after: str, said: str
) -> None:
    monkeypatch.setattr(failoverready, "_SETTLED_SECONDS", 0.05)
    monkeypatch.setattr(failoverready, "_PAUSE", 0.01)
    with pytest.raises(ProvisionError, match=said):
        await_ready(site([lb1], [lb2]), after)


def test_a_host_that_is_lost_is_unreachable() -> None:
    lost = UnreachableError("lb1 is lost")
    with pytest.raises(UnreachableError):
        await_ready(site([HOLDER], [lost]))
