"""A host that is lost while a gate waits is told, and soon; without a loss nobody is asked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from provisioner.action import presence
from provisioner.action.presence import Presence, begun
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.inventory.model import Connection
from provisioner.remote.hostkeys import KnownHosts
from provisioner.remote.outcome import LostError
from provisioner.remote.pool import Pool
from provisioner.remote.route import UserConfig


@pytest.fixture
def gone() -> Iterator[Presence]:
    """Of one host, at which nothing listens."""
    with socket.socket() as taken:  # bound, so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        hosts = {"worker1": Connection("127.0.0.1", port=taken.getsockname()[1])}
        with Pool(hosts, known_hosts=KnownHosts(), config=UserConfig(None)) as pool:
            yield Presence(pool, ["worker1"])


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """What a gate's work waits for; it comes in the end."""
    event = threading.Event()
    yield event
    event.set()


def refused() -> str:
    raise ProvisionError("pods do not run")


def lost() -> str:
    raise LostError("worker1: gave no sign of life")


def test_a_host_that_is_gone_is_named(gone: Presence) -> None:
    with pytest.raises(UnreachableError, match=r"^worker1: ") as caught:
        gone.check()
    assert caught.value.exit_code == 4


def test_without_hosts_nobody_is_gone(gone: Presence) -> None:
    Presence(gone.pool, []).check()


def test_work_is_given_up_when_a_host_is_gone(
    gone: Presence, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PRESENCE", 0.1)
    with pytest.raises(UnreachableError, match="worker1"):
        gone.result(begun(stop.wait))


def test_nobody_is_asked_about_work_that_ends(gone: Presence) -> None:
    assert gone.result(begun(lambda: "3 nodes")) == "3 nodes"
    with pytest.raises(ProvisionError, match="pods do not run"):
        gone.result(begun(refused))


def test_a_lost_host_is_told_before_what_still_waits_for_it(gone: Presence, stop: threading.Event) -> None:
    began = time.monotonic()
    with pytest.raises(LostError, match="worker1"):
        gone.beside(stop.wait, lost)
    assert time.monotonic() - began < 20


def test_a_host_that_is_lost_once_the_other_has_failed(
    gone: Presence, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PRESENCE", 0.1)
    with pytest.raises(UnreachableError, match="worker1"):
        gone.beside(stop.wait, refused)


def test_what_runs_beside_is_told_first(gone: Presence) -> None:
    def not_ready() -> str:
        raise ProvisionError("nodes are not ready")

    with pytest.raises(ProvisionError, match="nodes are not ready"):
        gone.beside(not_ready, refused)
    with pytest.raises(ProvisionError, match="nodes are not ready"):
        gone.beside(not_ready, lambda: "well")
    assert gone.beside(lambda: "ready", lambda: "well") == "well"


def test_an_interruption_leaves_the_connections_to_who_cleans_up(
    gone: Presence, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a gate has made is removed by them."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(presence, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gone.result(begun(stop.wait))
    assert not gone.pool.closed
