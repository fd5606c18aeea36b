"""The pods of the traffic check: made under the work lock, awaited, complained of, and removed whatever comes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_work_lock import Host

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube import check_pods, podwait
from provisioner.kube import complaints as complaining
from provisioner.kube.check_objects import LABEL, check_name, cluster_ip
from provisioner.kube.complaints import complaints
from provisioner.kube.traffic import TrafficCheck
from provisioner.remote.outcome import Result
from provisioner.shell.script import Script


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path, "dash")
    host.prepare()
    return host


RUN = "20260101-000000-abcd"
CHECK = TrafficCheck("agnhost", {"worker1": "10.0.0.1"}, "cluster.local", RUN)


def test_checks_of_one_run_ask_services_of_their_own() -> None:
    assert cluster_ip(check_name(RUN)) != cluster_ip(check_name(RUN)), "CoreDNS has the former's address yet"


def nowhere(scripts: Mapping[str, Script]) -> Mapping[str, Result]:
    raise AssertionError("there are no pods to ask")


def test_objects_of_the_traffic_check(host: Host) -> None:
    with pytest.raises(ProvisionError, match="are missing"):
        CHECK(host, nowhere)
    assert host.asked == {("create", "held"), ("delete", "held"), ("rollout", "free"), ("get", "free")}
    assert host.verbs() == ["create", "rollout", "get", "delete", "get"]


def test_what_a_killed_check_left_is_removed_first(host: Host) -> None:
    host.prepare(refusals='Error from server (AlreadyExists): daemonsets.apps "asker" already exists\n')
    with pytest.raises(ProvisionError, match="are missing"):
        CHECK(host, nowhere)
    first = ["create", "delete", "get", "create"]
    assert host.verbs() == [*first, "rollout", "get", "delete", "get"]


def test_pods_that_come_and_go_gently(host: Host) -> None:
    """On one node after the other; a part that a killed check left goes without those that are there by then."""
    gently = replace(CHECK, nodes={"worker1": "10.0.0.1", "worker2": "10.0.0.2"}, at_once=1)
    with pytest.raises(ProvisionError, match="are missing"):
        gently(host, nowhere)
    assert host.verbs() == ["create", "rollout", "get"] * 2 + ["delete", "get"] * 2
    assert [list(part) for part in gently.pods.parts] == [["worker1"], ["worker2"]]
    assert "--selector=provision.dev/check-part=1" in check_pods.clearing(1)
    assert "--selector" not in check_pods.clearing()


def test_parts_of_a_check_hold_each_node_once() -> None:
    names = [f"worker{number}" for number in range(5)]
    parts = replace(CHECK, nodes=dict.fromkeys(names, "10.0.0.1"), at_once=2).pods.parts
    assert [list(part) for part in parts] == [names[:2], names[2:4], names[4:]]


@pytest.mark.parametrize(
    ("said", "told", "hint"),
    [
        (
            'Error from server (NotFound): namespaces "provision-check" not found\n',
            "is missing",
            "--stage admission",
        ),
        ("Error from server (Forbidden): quota\n", "cannot be made:\nError from server .*quota", ""),
    ],
)
def test_objects_that_cannot_be_made(host: Host, said: str, told: str, hint: str) -> None:
    host.prepare(refusals=said)
    with pytest.raises(ProvisionError, match=told) as caught:
        CHECK(host, nowhere)
    assert hint in caught.value.hint
    assert host.verbs() == ["create", "delete", "get"]


def test_what_another_run_left_is_not_looked_at(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pods may be on their way out, and its DaemonSets' events are there for an hour."""
    monkeypatch.setattr(podwait, "PATIENCE", 0)
    late = {
        **event(1, "FailedCreate", "forbidden", kind="DaemonSet"),
        "involvedObject": involved("DaemonSet", "u0"),
    }
    old = {**pod("ImagePullBackOff"), "metadata": {"name": "old", "labels": {LABEL: "another"}}}
    host.prepare(rollout=1, pods=json.dumps({"items": [late, old, pod("ContainerCreating")]}))
    with pytest.raises(ProvisionError) as caught:
        CHECK(host, nowhere)
    assert caught.value.reason.splitlines()[1:] == ["  p on worker1: does not run yet"]


def test_what_the_traffic_check_leaves_fails_it_and_hides_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_pods, "_REMOVAL", 0)
    host.prepare(left="pod/asker-x\n")
    with pytest.raises(ProvisionError) as caught:
        CHECK(host, nowhere)
    reason = caught.value.reason
    assert reason.index("are missing") < reason.index(
        "are left in the namespace provision-check:\npod/asker-x"
    )
    assert "kubectl -n provision-check delete daemonset,service,pod --all" in caught.value.hint
    with pytest.raises(ProvisionError, match="are left"):
        CHECK.pods.remove(host)


def pod(reason: str = "", message: str = "", *, ready: bool = False) -> dict[str, Any]:
    waiting = {"waiting": {"reason": reason, "message": message}} if reason else {"running": {}}
    status = {
        "containerStatuses": [{"state": waiting}],
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }
    metadata = {"name": "p", "uid": "u1", "labels": {LABEL: RUN}}
    return {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "worker1"}, "status": status}


def involved(kind: str, uid: str = "u1") -> dict[str, Any]:
    return {"kind": kind, "name": "p", "uid": uid}


def event(
    seconds: int, reason: str, message: str = "", *, kind: str = "Pod", warning: bool = True
) -> dict[str, Any]:
    return {
        "kind": "Event",
        "type": "Warning" if warning else "Normal",
        "metadata": {"name": f"e{seconds}", "resourceVersion": str(100 + seconds)},
        "involvedObject": involved(kind),
        "lastTimestamp": f"2026-01-01T00:00:{seconds:02}Z",
        "reason": reason,
        "message": message,
    }


PULL = [
    event(1, "Pulling", warning=False),
    event(2, "Failed", 'Failed to pull image "a": not found'),
    event(2, "Failed", "Error: ErrImagePull"),
    event(3, "BackOff", 'Back-off pulling image "a"', warning=False),
]
COMPLAINTS: list[tuple[str, list[dict[str, Any]], dict[str, str]]] = [
    ("runs", [pod(ready=True), event(1, "FailedMount", "x")], {}),
    ("is on its way", [pod("ContainerCreating"), event(1, "Scheduled", warning=False)], {}),
    ("is only just there", [{"kind": "Pod", "metadata": {"name": "p"}, "spec": {}}], {}),
    (
        "its sandbox fails",
        [
            pod("ContainerCreating"),
            event(2, "FailedCreatePodSandBox", "no subnet"),
            event(1, "Scheduled", warning=False),
        ],
        {"p": "FailedCreatePodSandBox: no subnet"},
    ),
    (
        "its sandbox failed once",
        [
            pod("ContainerCreating"),
            event(2, "FailedCreatePodSandBox", "x"),
            event(9, "Pulling", warning=False),
        ],
        {},
    ),
    (
        "its last sandbox cannot be taken down",
        [
            pod("ContainerCreating"),
            event(2, "FailedCreatePodSandBox", 'failed to find plugin "flannel"'),
            event(9, "SandboxChanged", "it will be killed and re-created", warning=False),
        ],
        {"p": 'FailedCreatePodSandBox: failed to find plugin "flannel"'},
    ),
    (
        "the scheduler's clock is ahead",
        [
            pod("ContainerCreating"),
            event(2, "FailedCreatePodSandBox", "no subnet"),
            event(9, "Scheduled", warning=False),
        ],
        {"p": "FailedCreatePodSandBox: no subnet"},
    ),
    (
        "it got a sandbox and waits for the next container",
        [
            pod("PodInitializing"),
            event(2, "FailedCreatePodSandBox", "x"),
            event(3, "Started", warning=False),
            event(4, "AddedInterface", warning=False),
        ],
        {},
    ),
    ("its image fails", [pod("ImagePullBackOff", "Back-off"), *PULL], {"p": f"Failed: {PULL[1]['message']}"}),
    ("it falls", [pod("CrashLoopBackOff", "back-off 10s")], {"p": "CrashLoopBackOff: back-off 10s"}),
    (
        "it is not made",
        [event(1, "FailedCreate", "forbidden", kind="DaemonSet")],
        {"p": "FailedCreate: forbidden"},
    ),
]


@pytest.mark.parametrize(("name", "items", "told"), COMPLAINTS, ids=[each[0] for each in COMPLAINTS])
def test_what_keeps_a_pod_from_running(name: str, items: list[dict[str, Any]], told: dict[str, str]) -> None:
    assert complaints(items) == told


def test_a_pod_that_fails_all_the_time_is_not_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complaining, "STUCK", 0.3)
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ImagePullBackOff", "Back-off"), *PULL]}))
    began = time.monotonic()
    with pytest.raises(ProvisionError, match="p on worker1: Failed: Failed to pull image"):
        CHECK(host, nowhere)
    assert time.monotonic() - began < podwait.PATIENCE


@pytest.mark.parametrize("joined", [False, True])
def test_one_without_a_network_gets_more_time_where_a_node_has_joined(
    host: Host, monkeypatch: pytest.MonkeyPatch, *, joined: bool
) -> None:
    monkeypatch.setattr(complaining, "STUCK", 0)
    monkeypatch.setattr(complaining, "JOINED", 1 if joined else 60)
    sandbox = event(1, "FailedCreatePodSandBox", "no subnet.env")
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ContainerCreating"), sandbox]}))
    began = time.monotonic()
    with pytest.raises(ProvisionError, match=r"p on worker1: FailedCreatePodSandBox: no subnet\.env"):
        replace(CHECK, joined=joined)(host, nowhere)
    took = time.monotonic() - began
    assert took > 1 if joined else took < 60


def gone() -> None:
    raise UnreachableError("worker1: gave no sign of life", "is the host up?")


@pytest.mark.parametrize("limit", ["PRESENCE", "PATIENCE"])
def test_a_host_that_is_lost_while_its_pods_are_awaited(
    host: Host, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(podwait, limit, 0)
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ContainerCreating")]}))
    with pytest.raises(UnreachableError) as caught:
        CHECK(host, nowhere, gone)
    assert caught.value.reason == "worker1: gave no sign of life"
    assert host.verbs() == ["create", "rollout", "get", "delete", "get"], "what was made is removed"


def test_a_lost_host_whose_pods_stay(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podwait, "PRESENCE", 0)
    monkeypatch.setattr(check_pods, "_REMOVAL", 0)
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ContainerCreating")]}), left="pod/asker-x\n")
    with pytest.raises(UnreachableError, match=r"^worker1: gave no sign of life\nobjects .* are left"):
        CHECK(host, nowhere, gone)


def test_nobody_is_asked_whether_hosts_are_there_when_pods_run(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podwait, "PRESENCE", 0)
    with pytest.raises(ProvisionError, match="are missing"):
        CHECK(host, nowhere, gone)


def test_the_last_that_is_known_of_a_pod_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podwait, "PATIENCE", 0)
    seen = [event(1, "Scheduled", "to worker1", warning=False), event(2, "Pulling", "a", warning=False)]
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ContainerCreating"), *reversed(seen)]}))
    with pytest.raises(ProvisionError) as caught:
        CHECK(host, nowhere)
    told = "  p on worker1: does not run yet; the last that is known of it is Pulling: a"
    assert caught.value.reason.splitlines()[1:] == [told]
