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
from provisioner.errors import ProvisionError
from provisioner.kube.join import NodeJoinedKind
from provisioner.kube.marks import NodeMarksKind
from provisioner.kube.token import BootstrapToken
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
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
*" get leases "*) printf 'worker1\\t%s\n' "$(date +%s.%N)" ;;
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


def test_a_kubelet_that_a_killed_run_has_let_in(host: Host) -> None:
    """Its request is gone, or another token's; that it is alive is what counts."""
    wish = Resource("node_joined", "worker1", Present({"marks": ""}), {"joining": True})
    kind = NodeJoinedKind(BootstrapToken())
    kind.conduct([Change(wish, Absent(), "create")], host)
    assert "approve" not in host.verbs()
    node = b"worker1\t{}\t\n==\n{}\n==\n" + b'{"items": []}'
    assert isinstance(kind.parse(node, [wish])[wish.id], Present)
    assert isinstance(NodeJoinedKind(BootstrapToken()).parse(node, [wish])[wish.id], Absent)


def without_taint(host: Host, said: str, *, record: str = "{}") -> None:
    """A node's taint a/b:NoSchedule leaves, and kubectl says `said` of it ("": nothing). `record` is "" for none."""
    host.prepare(refusals=said, record=record)
    wish = Resource("node_marks", "worker1", Absent(), {"wanted": frozenset()})
    before = Present({"left": ("taint:a/b:NoSchedule",)})
    NodeMarksKind().conduct([Change(wish, before, "delete")], host)


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
