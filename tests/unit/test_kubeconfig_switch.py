"""A node that others have set up goes to another address of the API server, and goes back by itself: when, and to what.

The scripts run as they are, with their folders below one of the test's own. What answers there for systemd and for the
API server are two programs that do as they are told.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from localhost import SHELLS

from provisioner.engine.diff import diff
from provisioner.kube import kubeconfigserver, wayback
from provisioner.kube.kubeconfigserver import HostKubeconfigs, KubeconfigServerKind
from provisioner.resources.model import Change, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.assemble import prelude
from provisioner.shell.script import Script

OLD, NEW = "https://192.0.2.11:6443", "https://192.0.2.9:6443"
OURS = ("/var/lib/provision", "/run/provision", "/etc/systemd/system", "/opt/kubernetes/bin")
SYSTEMCTL = """#!/bin/sh
echo "$@" >>{root}/said
"""
# Each question finds the lease renewed. By its old kubeconfig the node is Ready, by a new one once there is `works`.
KUBECTL = """#!/bin/sh
echo "$@" >>{root}/asked
case "$*" in
  *lease*) wc -l <{root}/asked ;;
  *Ready*) grep -q 192.0.2.9 {root}/cfg/kubelet && [ ! -e {root}/works ] || echo True ;;
esac
"""


def kubeconfig(server: str) -> str:
    return f"clusters: [{{name: a, cluster: {{server: '{server}'}}}}]\n"


@dataclass
class Node:
    """A host with three kubeconfigs: those of its kubelet and its kube-proxy, and an administrator's."""

    root: Path
    shell: str

    def __post_init__(self) -> None:
        self.files = [self.root / "cfg" / name for name in ("kubelet", "proxy", "admin")]
        for path in (*(self.root / each[1:] for each in OURS), self.root / "cfg", self.root / "bin"):
            path.mkdir(parents=True)
        self._program("bin/systemctl", SYSTEMCTL)
        self._program("opt/kubernetes/bin/kubectl", KUBECTL)
        self.write(OLD, OLD, OLD)

    def _program(self, path: str, text: str) -> None:
        (self.root / path).write_text(text.format(root=self.root))
        (self.root / path).chmod(0o755)

    def write(self, *its: str) -> None:
        for path, server in zip(self.files, its, strict=True):
            path.write_text(kubeconfig(server))

    @property
    def servers(self) -> list[str]:
        return re.findall("'(https://.*)'", "".join(path.read_text() for path in self.files))

    @property
    def restarts(self) -> list[str]:
        said = self.root / "said"
        lines = said.read_text().splitlines() if said.exists() else []
        return [each for each in lines if re.match("(re)?start .*kubelet", each)]

    @property
    def left(self) -> list[str]:
        """What there is of a switch."""
        return [str(each) for each in self.root.rglob("*endpoint*") if not each.name.endswith(".lock")]

    def planned(self) -> Change:
        """What a run does that reads the host now."""
        change = self.wish()
        assert change is not None
        return change

    def wish(self) -> Change | None:
        texts = {str(path): path.read_text() for path in self.files}
        has = HostKubeconfigs(texts, {OLD: NEW}, "worker1", *list(texts)[:2])
        kind = KubeconfigServerKind({"here": has})
        task = TaskCall(
            "kubeconfig_server", {"server": NEW}, "here", lambda _: ("", 0, 0), lambda *_: None, str
        )
        (resource,) = kind.build(task)
        return diff(resource, self.read(resource))

    def read(self, resource: Resource) -> State:
        kind = KubeconfigServerKind({})
        done = self.sh(kind.probe([resource]).main)
        return kind.parse(done.stdout.encode(), [resource])[resource.id]

    def moved(self, text: str) -> str:
        for path in OURS:
            text = text.replace(path, f"{self.root}{path}")
        return text.replace("/bin/sh", f"{self.root}/bin/sh")

    def begin(self, change: Change) -> subprocess.Popen[str]:
        return self.run(KubeconfigServerKind({}).change(change))

    def run(self, script: Script) -> subprocess.Popen[str]:
        payload, work = self.root / "payload", self.root / "work"
        for folder in (payload, work):
            folder.mkdir(exist_ok=True)
        for name, blob in script.payload.items():
            assert blob.data is not None
            (payload / name).write_text(self.moved(blob.data.decode()))
        return self.start(f"set -eu\nP={payload} W={work}\n{prelude()}\n{script.main}")

    def start(self, text: str) -> subprocess.Popen[str]:
        program = shutil.which(SHELLS[self.shell])
        assert program
        if not (self.root / "bin/sh").exists():
            (self.root / "bin/sh").symlink_to(program)
        env = {**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}"}
        argv = [f"{self.root}/bin/sh", "-c", self.moved(text)]
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
        )

    def sh(self, text: str) -> subprocess.CompletedProcess[str]:
        process = self.start(text)
        stdout, stderr = process.communicate(timeout=30)
        return subprocess.CompletedProcess(text, process.returncode, stdout, stderr)

    def switch(self, change: Change) -> str:
        """Makes the change; returns what it says when it fails."""
        process = self.begin(change)
        _, stderr = process.communicate(timeout=30)
        return stderr if process.returncode else ""

    def cut_off(self) -> None:
        """A switch whose power is lost once the new kubeconfigs are there, and before the node returns."""
        process = self.begin(self.planned())
        end = time.monotonic() + 20
        while self.restarts[-1:] != ["start --no-block kubelet kube-proxy"] and time.monotonic() < end:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert self.servers == [NEW] * 3

    def time_is_over(self) -> str:
        """Runs what the timer of the host starts, which boots with it; returns what it says."""
        units = self.root / "etc/systemd/system"
        assert (units / "timers.target.wants" / "provision-endpoint-back.timer").exists()
        unit = (units / "provision-endpoint-back.service").read_text()
        line = next(each for each in unit.splitlines() if each.startswith("ExecStart="))
        command = line.partition(" -c ")[2].strip("'").replace("$$", "$")
        return self.sh(command.replace(str(self.root), "")).stderr


@pytest.fixture(params=SHELLS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(tmp_path, request.param)


def test_a_node_that_returns_keeps_its_new_kubeconfigs(node: Node) -> None:
    (node.root / "works").touch()
    assert node.switch(node.planned()) == ""
    assert node.servers == [NEW] * 3
    assert node.left == []
    assert node.wish() is None


def test_a_node_that_does_not_return_goes_back(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfigserver, "_SWITCH", kubeconfigserver._SWITCH.replace("+ 90)", "+ 1)"))
    assert "it has its old kubeconfigs again" in node.switch(node.planned())
    assert node.servers == [OLD] * 3
    assert node.left == []


def test_a_node_goes_back_after_its_power_was_lost_amid_the_switch(node: Node) -> None:
    node.cut_off()
    assert node.time_is_over() == ""
    assert node.servers == [OLD] * 3
    assert node.restarts[-1] == "restart -- kubelet kube-proxy"
    assert node.left == []


def test_one_that_lost_its_power_amid_going_back_goes_on_with_that(node: Node) -> None:
    node.cut_off()
    state = node.root / "var/lib/provision/endpoint"
    state.rename(f"{state}.back")
    node.write(OLD, NEW, NEW)
    assert node.planned().keys[-1] == "approved"
    assert node.time_is_over() == ""
    assert node.servers == [OLD] * 3
    assert node.left == []


def test_only_what_the_switch_has_written_is_taken_back(node: Node) -> None:
    node.cut_off()
    edited = "https://192.0.2.8:6443"
    node.write(NEW, edited, OLD)
    assert node.time_is_over() == f"{node.files[1]} was changed after the switch: it stays as it is\n"
    assert node.servers == [OLD, edited, OLD]


def test_the_next_run_goes_on_with_a_switch_that_was_cut_off(node: Node) -> None:
    node.cut_off()
    change = node.planned()
    assert change.keys == ("approved",)
    (node.root / "works").touch()
    assert node.switch(change) == ""
    assert node.servers == [NEW] * 3
    assert node.restarts[-1] == "start --no-block kubelet kube-proxy"
    assert node.left == []
    assert node.wish() is None


def test_one_that_was_cut_off_twice_still_goes_back_to_what_was_there_before(node: Node) -> None:
    node.cut_off()
    (node.root / "said").unlink()
    node.cut_off()
    assert node.time_is_over() == ""
    assert node.servers == [OLD] * 3


def test_what_the_run_that_was_cut_off_has_approved_meanwhile_is_left_as_it_is(node: Node) -> None:
    node.cut_off()
    change = node.planned()
    node.sh(wayback.APPROVE)
    before = node.restarts
    assert node.switch(change) == ""
    assert node.servers == [NEW] * 3
    assert node.restarts == before


def test_what_the_run_that_was_cut_off_has_taken_back_meanwhile_is_switched_anew(node: Node) -> None:
    node.cut_off()
    change = node.planned()
    node.sh(wayback.GO_BACK)
    assert node.servers == [OLD] * 3
    (node.root / "works").touch()
    assert node.switch(change) == ""
    assert node.servers == [NEW] * 3
    assert node.left == []


def test_what_somebody_has_edited_meanwhile_is_not_written_over(node: Node) -> None:
    change = node.planned()
    node.write(OLD, OLD, edited := "https://192.0.2.8:6443")
    assert "is another one than was read: run again" in node.switch(change)
    assert node.servers == [OLD, OLD, edited]


def test_what_the_host_kept_before_it_lost_its_power_is_not_taken_for_what_is_there(node: Node) -> None:
    """It was about to begin: nothing says that what it holds is still what there is."""
    kept = node.root / f"var/lib/provision/endpoint/kept{node.files[2]}"
    kept.parent.mkdir(parents=True)
    kept.write_text(kubeconfig("https://192.0.2.7:6443"))
    assert node.planned().keys[-1] == "approved"
    node.cut_off()
    node.time_is_over()
    assert node.servers == [OLD] * 3


def test_files_of_our_own_go_back_whatever_they_are_by_then(node: Node) -> None:
    """Those of a cluster that the tool has built itself; and what was not there before stays."""
    node.files[2].unlink()
    begun = node.run(wayback.begin(dict.fromkeys(map(str, node.files), ""), ["kubelet.service"]))
    assert begun.communicate(timeout=30) == ("", "")
    node.write(NEW, "https://192.0.2.8:6443", NEW)
    assert node.time_is_over() == ""
    assert node.servers == [OLD, OLD, NEW]
    assert (node.root / "said").read_text().splitlines()[-2] == "restart -- kubelet.service"
    assert node.left == []


def test_approval_fails_once_the_host_goes_back(node: Node) -> None:
    node.cut_off()
    node.sh(wayback.GO_BACK)
    assert node.sh(wayback.APPROVE).returncode != 0


def test_a_host_waits_longer_than_the_run_before_it_goes_back() -> None:
    run = kubeconfigserver
    longest = run.STOP_SECONDS + run.ASKING_SECONDS + run.READY_SECONDS + 2 * run.ASKING_SECONDS + 1
    assert longest < wayback.GRACE
