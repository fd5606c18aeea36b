"""What `provision status` prints."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest

from provisioner.engine.health import ClusterHealth, Component, Expiry, HostHealth, NodeHealth
from provisioner.engine.history import RunRecord
from provisioner.report.status import show_status, status_lines
from provisioner.report.tables import duration, many, table

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
RUN = RunRecord("r", "apply", "--limit w", "ann@desk", "/i", ("w",), NOW.timestamp() - 120, 3.0, "ok", "", 1)
HEALTH = ClusterHealth(
    name="lab",
    wanted="1.33.13",
    network="flannel",
    proxy="iptables",
    at=NOW,
    uuid="1-2-3",
    state_format=1,
    versions={"kubernetes": "1.33.12", "etcd": "3.6.8", "runtime": "containerd 2.1"},
    nodes=(
        NodeHealth("cp1", True, ("control-plane",), "1.33.13", 3600.0, schedulable=False),
        NodeHealth("w", False, ("worker",), joined=False),
        NodeHealth("old", True, (), "1.33.1", 60.0, known=False),
    ),
    components=(
        Component("etcd", "cp1", True, "leader"),
        Component("kube-scheduler", "cp1", False, "refused"),
    ),
    hosts=(
        HostHealth(
            "cp1",
            True,
            units=(("etcd", "active"), ("kubelet", "failed")),
            certificates=(Expiry("/etc/a.crt", "CN=a", NOW + dt.timedelta(days=20)),),
            drift=2,
        ),
        HostHealth("w", False, reason="no route"),
    ),
    last_run=RUN,
)


def text(health: ClusterHealth) -> str:
    return "\n".join(line.text for line in status_lines(health))


def line(health: ClusterHealth, beginning: str) -> tuple[list[str], str]:
    """Words and style of the last line that begins so."""
    found = [each for each in status_lines(health) if each.text.startswith(beginning)]
    return found[-1].text.split(), found[-1].style


def test_everything_is_there() -> None:
    shown = text(HEALTH)
    for part in (
        "kubernetes 1.33.12 (wanted: 1.33.13), etcd 3.6.8, containerd 2.1, flannel, kube-proxy iptables",
        "uuid 1-2-3, state format 1",
        "drift: apply would make 2 changes: 2 on cp1; not known of w",
        "last run from here: apply --limit w by ann@desk, 2 min ago: ok, 1 change",
        "control-plane (cordoned)",
        "worker (not joined)",
        "(not in the inventory)",
        "! w is not reached: no route",
    ):
        assert part in shown
    assert line(HEALTH, "cp1") == (["cp1", "1", "of", "2", "run", "2", "in", "20", "d", "/etc/a.crt"], "bad")
    assert line(HEALTH, "etcd")[0] == ["etcd", "cp1", "ok", "leader"]
    assert line(HEALTH, "kube-scheduler") == (["kube-scheduler", "cp1", "refused"], "bad")


@pytest.mark.parametrize(
    ("ends", "drift", "style", "shown"),
    [
        (dt.timedelta(days=40), 0, "", "in 40 d"),
        (dt.timedelta(days=40), 1, "warn", "in 40 d"),
        (dt.timedelta(days=5), 0, "warn", "in 5 d"),
        (dt.timedelta(seconds=-1), 0, "bad", "ended"),
    ],
)
def test_a_host_stands_out(ends: dt.timedelta, drift: int, style: str, shown: str) -> None:
    host = HostHealth("only", True, certificates=(Expiry("/c", "CN=c", NOW + ends),), drift=drift)
    words, found = line(replace(HEALTH, hosts=(host,)), "only")
    assert found == style
    assert shown in " ".join(words)


def test_warnings_stand_at_the_end_also_of_a_cluster_that_is_well() -> None:
    found = status_lines(replace(HEALTH, hosts=(), components=(), nodes=(), warnings=("look at this",)))
    assert (found[-1].text, found[-1].style) == ("? look at this", "warn")


def test_what_is_not_known_is_not_said_to_be_well() -> None:
    bare = replace(
        HEALTH, versions=None, drift_unknown="no plan\nmore", last_run=None, nodes=(), components=()
    )
    shown = text(bare)
    assert "drift is not known: no plan\n" in shown
    assert "no run from this machine" in shown
    assert "kubernetes ? (wanted: 1.33.13), etcd ?" in shown


@pytest.mark.parametrize(
    ("lost", "shown", "style"),
    [
        ((), "no drift: apply would change nothing", "good"),
        (("w1", "w2"), "no drift on the hosts that were read; not known of w1, w2", "warn"),
    ],
)
def test_no_drift_is_said_of_hosts_that_were_read(lost: tuple[str, ...], shown: str, style: str) -> None:
    hosts = (HostHealth("cp1", True, drift=0), *(HostHealth(name, False, reason="off") for name in lost))
    assert line(replace(HEALTH, hosts=hosts), "  no drift") == (shown.split(), style)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(HEALTH, as_json=True)
    (only,) = capsys.readouterr().out.splitlines()
    value = json.loads(only)
    assert (value["healthy"], value["drift"], len(value["troubles"])) == (False, 2, 4)
    assert value["hosts"][0]["certificates"][0]["ends"] == "2026-02-20T12:00:00Z"
    assert value["last_run"]["who"] == "ann@desk"
    show_status(replace(HEALTH, drift_unknown="why"), as_json=True)
    assert json.loads(capsys.readouterr().out)["drift"] is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min"), (61, "1 min 1 s"), (599.6, "10 min"), (3600, "1 h"),
        (7260, "2 h 1 min"), (36060, "10 h"), (90000, "1 d 1 h"), (86400 * 365, "365 d"),
    ],
)  # fmt: skip
def test_spans_of_time(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_columns() -> None:
    assert table([("a", "bb"), ("ccc", "d")], right=(1,)) == ["a    bb", "ccc   d"]
    assert table([]) == []
    assert (many(1, "run"), many(0, "run")) == ("1 run", "0 runs")
