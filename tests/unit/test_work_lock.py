"""What changes a cluster or a host holds the host's work lock; what was read counts only while nothing changed it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from localhost import LocalSession
from test_requests import item as request

from provisioner.action.undisturbed import disturbed
from provisioner.engine.events import Event, Note
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube import check_pods
from provisioner.kube.check_objects import LABEL
from provisioner.kube.join import NodeJoinedKind
from provisioner.kube.token import BootstrapToken
from provisioner.kube.traffic import TrafficCheck
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.remote.outcome import Result
from provisioner.resources.model import Absent, Change, Present, Resource
from provisioner.shell.assemble import StepRecord, change_script
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

KUBECTL = """#!/bin/sh
# Stands for kubectl: notes each word that it is called by and whether its caller holds the work lock.
mkdir -p {root}/own/run/provision
flock -n {root}/own/run/provision/work.lock true && held=free || held=held
for word do
  case $word in -*) ;; *) echo "$word $held" >>{root}/asked ;; esac
done
case " $* " in
*" create "*) [ ! -s {root}/refusals ] || {{ cat {root}/refusals >&2; rm {root}/refusals; exit 1; }} ;;
*" rollout "*) exit {rollout} ;;
*" get csr "*) cat {root}/requests ;;
*" get pods -o name "*) cat {root}/left ;;
*" get pods,services"*) cat {root}/pods ;;
*" get configmap "*) [ -s {root}/record ] && cat {root}/record ;;
*" get nodes "*) printf worker1 ;;
*" taint "*"- ") [ ! -s {root}/refusals ] || {{ cat {root}/refusals >&2; exit 1; }} ;;
esac
"""
CHANGING = {"approve", "label", "taint", "annotate", "patch", "create", "delete", "apply"}


class Host(LocalSession):
    """This machine, with a kubectl of ours. `requests`, `pods`, `left` and `record` are what it answers, `refusals`
    what it says of the first objects that it is to create."""

    def prepare(self, *, rollout: int = 0, **answers: str) -> None:
        (self.root / "record").write_text(answers.get("record", "{}"))
        for name in ("requests", "pods", "left"):
            (self.root / name).write_text(answers.get(name, '{"items": []}' if name != "left" else ""))
        (self.root / "refusals").write_text(answers.get("refusals", ""))
        path = self.root / "kubectl"
        path.write_text(KUBECTL.format(root=self.root, rollout=rollout))
        path.chmod(0o755)

    def _text(self, text: str) -> str:
        return super()._text(text).replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")

    def verbs(self) -> list[str]:
        """What was asked for, in order."""
        words = [line.split(" ")[0] for line in (self.root / "asked").read_text().splitlines()]
        return [word for word in words if word in CHANGING | {"get", "rollout"}]

    @property
    def asked(self) -> set[tuple[str, str]]:
        """(verb, held or free) of what was asked for."""
        lines = (self.root / "asked").read_text().split("\n")[:-1]
        words = (line.rsplit(" ", 1) for line in lines)
        return {(verb, held) for verb, held in words if verb in CHANGING | {"get", "rollout"}}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    # Not busybox: its own flock knows no time limit; hosts have util-linux.
    host = Host(tmp_path, "dash")
    host.prepare()
    return host


def test_requests_labels_and_taints(host: Host) -> None:
    token = BootstrapToken()
    granted = {"status": {"certificate": "x"}}
    sent = request(username=token.user)
    host.prepare(requests=json.dumps({"items": [sent, {**sent, **granted}]}))
    attrs = {"label:zone": "a", "taint:a/b:NoSchedule": "c", "marks": "label:zone taint:a/b:NoSchedule"}
    wish = Resource("node_joined", "worker1", Present(attrs), {"joining": True})
    NodeJoinedKind(token).conduct([Change(wish, Absent(), "create")], host)
    verbs = {(verb, "held") for verb in ("approve", "label", "taint", "patch")}
    assert host.asked == verbs | {("get", "free"), ("get", "held")}


def without_taint(host: Host, said: str, *, record: str = "{}") -> None:
    """A node's taint a/b:NoSchedule leaves, and kubectl says `said` of it ("": nothing). `record` is "" for none."""
    host.prepare(refusals=said, record=record)
    wish = Resource("node_joined", "worker1", Present({"marks": ""}), {"joining": False})
    before = Present({"taint:a/b:NoSchedule": "c", "marks": "taint:a/b:NoSchedule"})
    NodeJoinedKind(BootstrapToken()).conduct([Change(wish, before, "update", ("marks",))], host)


@pytest.mark.parametrize("said", ["", 'error: taint "a/b:NoSchedule" not found\n'])
def test_a_taint_that_left(host: Host, said: str) -> None:
    without_taint(host, said)
    assert host.verbs() == ["taint", "get", "patch"], "what is ours now is noted"


def test_the_first_note_makes_the_record(host: Host) -> None:
    without_taint(host, "", record="")
    assert host.verbs() == ["taint", "get", "create", "annotate", "patch"]


@pytest.mark.parametrize(
    "said", ['Error from server (NotFound): nodes "worker1" not found\n', "Unable to connect to the server\n"]
)
def test_a_taint_that_could_not_be_taken_away(host: Host, said: str) -> None:
    with pytest.raises(ProvisionError, match=said.strip().replace("(", r"\(").replace(")", r"\)")):
        without_taint(host, said)
    assert host.verbs() == ["taint"], "it stays ours"


RUN = "20260101-000000-abcd"
CHECK = TrafficCheck("agnhost", {"worker1": "10.0.0.1"}, "cluster.local", RUN)


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
    monkeypatch.setattr(check_pods, "PATIENCE", 0)
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
    assert check_pods.complaints(items) == told


def test_a_pod_that_fails_all_the_time_is_not_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_pods, "STUCK", 0.3)
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ImagePullBackOff", "Back-off"), *PULL]}))
    began = time.monotonic()
    with pytest.raises(ProvisionError, match="p on worker1: Failed: Failed to pull image"):
        CHECK(host, nowhere)
    assert time.monotonic() - began < 5


def gone() -> None:
    raise UnreachableError("worker1: gave no sign of life", "is the host up?")


@pytest.mark.parametrize("limit", ["PRESENCE", "PATIENCE"])
def test_a_host_that_is_lost_while_its_pods_are_awaited(
    host: Host, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(check_pods, limit, 0)
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ContainerCreating")]}))
    with pytest.raises(UnreachableError) as caught:
        CHECK(host, nowhere, gone)
    assert caught.value.reason == "worker1: gave no sign of life"
    assert host.verbs() == ["create", "rollout", "get", "delete", "get"], "what was made is removed"


def test_a_lost_host_whose_pods_stay(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_pods, "PRESENCE", 0)
    monkeypatch.setattr(check_pods, "_REMOVAL", 0)
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ContainerCreating")]}), left="pod/asker-x\n")
    with pytest.raises(UnreachableError, match=r"^worker1: gave no sign of life\nobjects .* are left"):
        CHECK(host, nowhere, gone)


def test_nobody_is_asked_whether_hosts_are_there_when_pods_run(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_pods, "PRESENCE", 0)
    with pytest.raises(ProvisionError, match="are missing"):
        CHECK(host, nowhere, gone)


def test_the_last_that_is_known_of_a_pod_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_pods, "PATIENCE", 0)
    seen = [event(1, "Scheduled", "to worker1", warning=False), event(2, "Pulling", "a", warning=False)]
    host.prepare(rollout=1, pods=json.dumps({"items": [pod("ContainerCreating"), *reversed(seen)]}))
    with pytest.raises(ProvisionError) as caught:
        CHECK(host, nowhere)
    told = "  p on worker1: does not run yet; the last that is known of it is Pulling: a"
    assert caught.value.reason.splitlines()[1:] == [told]


def test_a_locked_part_waits_for_another_and_gives_its_own_status(host: Host) -> None:
    slow = threading.Thread(
        target=host.run, args=(Script(f"{locked('sleep 0.5; date +%s%N >slow; pwd')}\n"),)
    )
    slow.start()
    time.sleep(0.2)
    began = time.monotonic()
    result = host.run(Script(f"{locked('echo said; exit 3')}\n"))
    assert time.monotonic() - began > 0.2
    assert (result.status, result.stdout) == (3, b"said\n")
    slow.join()


class Pool:
    """One host, which is this machine."""

    def __init__(self, session: Host) -> None:
        self.session = session

    def map(self, hosts: Sequence[str], work: Callable[[Any], str]) -> Mapping[str, Any]:
        return {host: work(self.session) for host in hosts}


def facts(host: Host) -> dict[str, Facts]:
    """What the facts' script says of the last change; the rest is of no interest."""
    said = host.run(facts_script()).stdout.decode().split("\n=")
    change = next(part.partition("\n")[2].strip() for part in said if part.startswith("change"))
    return {"here": Facts("amd64", "6", "here", "debian", "12", 0.0, False, 1, {}, "", last_change=change)}


def changed_by_another(host: Host, commands: str = ":") -> None:
    host.run(change_script([Script(f"{commands}\n")], [StepRecord("{}")], []))


def test_a_host_that_changed_since_it_was_read_is_known(host: Host) -> None:
    notes: list[Event] = []

    def moved(read: dict[str, Facts]) -> list[str]:
        return disturbed(read, Pool(host), ["here"], notes.append)  # type: ignore[arg-type]

    first = facts(host)
    assert first["here"].last_change == ""
    assert moved(first) == []
    changed_by_another(host)
    assert moved(first) == ["here"]
    second = facts(host)
    assert moved(second) == []
    changed_by_another(host, "false")
    assert moved(second) == ["here"], "one that fails has changed something, too"
    assert notes == []


def test_what_an_orphan_still_does_is_waited_for(host: Host) -> None:
    notes: list[Event] = []
    orphan = threading.Thread(target=changed_by_another, args=(host, "sleep 0.6"))
    orphan.start()
    time.sleep(0.2)
    read = facts(host)
    assert disturbed(read, Pool(host), ["here"], notes.append) == ["here"]  # type: ignore[arg-type]
    orphan.join()
    assert [isinstance(each, Note) and "waiting for a script" in each.message for each in notes] == [True]
