"""Faults of pod networks: what a node and the API server say, and what is judged by it; the scripts run for real."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from localhost import SHELLS, LocalSession

from provisioner.action.repair import chosen, doubts
from provisioner.engine.events import FaultFound
from provisioner.errors import InputError, ProvisionError
from provisioner.kube.cnicluster import Pod, node_of, parse_cluster
from provisioner.kube.cnifaults import FAULTS, Fault, Seen, faults_of
from provisioner.kube.cnimend import delete_pods, give_back, give_back_script
from provisioner.kube.cniread import Lease, NodeNetwork, parse_node
from provisioner.kube.cniscript import read_script
from provisioner.report.wording import lines_of
from provisioner.shell.script import Script

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "cnifaults.yaml").read_text(encoding="utf-8"))
NOW = 1_800_000_000
FLANNEL = {
    "name": "cbr0",
    "cniVersion": "0.3.1",
    "plugins": [{"type": "flannel", "delegate": {"isDefaultGateway": True}}, {"type": "portmap"}],
}
PODS = [{"name": "kube-flannel-ds-1", "app": "flannel", "host": True, "address": "10.0.0.1"}]


def identity(name: str) -> str:
    """Of a container, by its first letters in a case."""
    return name.encode().hex().ljust(64, "0")


def node_output(case: Mapping[str, Any]) -> bytes:
    """What the script prints."""
    known = case.get("known", ["c1"])
    leases = {"10.244.1.2": {"container": "c1", "age": 900}} | case.get("leases", {})
    rows = {
        address: f"{NOW - each['age']} {identity(each['container'])}"
        f" /var/lib/cni/networks/{each.get('network', 'cbr0')}/{address}"
        for address, each in leases.items()
    }
    configuration = case.get("configuration", FLANNEL)
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    sandbox = {
        "Labels": {
            "io.kubernetes.pod.name": "pod",
            "io.kubernetes.pod.namespace": "ns",
            "io.kubernetes.pod.uid": "u",
        },
        "Spec": {
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/cni-1"}]}
        },
    }
    parts: dict[str, Sequence[str] | None] = {
        "now": [str(NOW)],
        "leases": list(rows.values()),
        "known": None if known is None else [identity(each) for each in known],
        "adding": [f"CNI_CONTAINERID={identity(each)}" for each in case.get("adding", ())],
        "again": [row for address, row in rows.items() if leases[address].get("again", True)],
        "left": case.get("left", ()),
        "tasks": [
            "TASK    PID    STATUS",
            *(f"{identity(each)}  7  RUNNING" for each in case.get("running", ())),
        ],
        "folders": ["/opt/cni/bin /etc/cni/net.d"],
        "configuration": [f"/etc/cni/net.d/10-flannel.conflist {base64.b64encode(text.encode()).decode()}"],
        "binaries": case.get("binaries", ()),
        "bridges": case.get(
            "bridges", ["4: cni0    inet 10.244.1.1/24 brd 10.244.1.255 scope global cni0\\"]
        ),
        "subnet": [_subnet(case.get("subnet", "10.244.1.1/24"))],
        "complaints": [_complaint(each) for each in case.get("complaints", ())],
        f"sandbox-{identity('c1')}": [json.dumps(sandbox, indent=4)],
    }
    return "".join(
        f"={name} {1 if lines is None else 0}\n" + "\n".join(lines or ()) + "\n\n"
        for name, lines in parts.items()
    ).encode()


def _subnet(text: str) -> str:
    return f"FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_{'IPV6_' * (':' in text)}SUBNET={text}\nFLANNEL_MTU=1450"


def _complaint(text: str) -> str:
    """As containerd 1.6 writes it to the journal."""
    age, name, how = text.split()
    head = f'{NOW - int(age)}.25 node1 containerd[1]: time="2026-11-29T04:35:18.713283168Z"'
    if how == "done":
        return f'{head} level=info msg="TearDown network for sandbox \\"{identity(name)}\\" successfully"'
    if how == "refused":
        why = f'failed to destroy network for sandbox \\"{identity(name)}\\": plugin type=\\"calico\\" failed (delete):'
        said = "error getting ClusterInformation: connection is unauthorized: Unauthorized"
        return f'{head} level=error msg="StopPodSandbox failed" error="{why} {said}"'
    why = f'failed to destroy network for sandbox \\"{identity(name)}\\": plugin type=\\"flannel\\" failed (delete):'
    return (
        f'{head} level=error msg="StopPodSandbox for \\"{identity(name)}\\" failed" error="{why} no record"'
    )


def cluster_output(case: Mapping[str, Any]) -> bytes:
    """What the API server says."""
    condition = {
        "type": "NetworkUnavailable",
        "status": str(case.get("unavailable", False)),
        "reason": "CalicoIsDown",
        "message": "stopped",
    }
    node = {
        "metadata": {"name": "node1"},
        "spec": {"podCIDRs": case.get("cidrs", ["10.244.1.0/24"])},
        "status": {"conditions": [condition], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
    }
    rows = []
    for each in case.get("pods", PODS):
        ready, phase = str(each.get("ready", True)), each.get("phase", "Running")
        host, owner = "true" * each.get("host", False), each.get("owner", "DaemonSet")
        fields = [
            "ns", each["name"], "uid", "node1", host, each.get("address", ""), phase, "", ready, owner,
            each.get("app", ""), each.get("k8s-app", ""),
        ]  # fmt: skip
        rows.append("\t".join(fields))
    return (json.dumps({"items": [node]}) + "\n==\n" + "\n".join(rows) + "\n").encode()


def judged(case: Mapping[str, Any]) -> list[Fault]:
    node = node_of(parse_cluster(cluster_output(case)), "worker1", "10.0.0.1")
    seen = Seen(
        "worker1", parse_node(node_output(case)), node, case.get("own", True), frozenset({"default.storage"})
    )
    return faults_of(seen)


def short(things: Sequence[str]) -> list[str]:
    """Without the beginnings of ids."""
    return [each.replace(identity("c1")[:13], "c1") for each in things]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_what_is_a_fault(case: Mapping[str, Any]) -> None:
    found = judged(case)
    assert {each.kind: short(each.things) for each in found} == case["faults"]
    assert all(bool(each.mend) != case.get("unmendable", False) for each in found)
    assert all(each.cost for each in found)
    said = " ".join(f"{each.why} {each.mend} {each.cost}" for each in found)
    for words in case.get("told", ()):
        assert words.replace("for gone", f"for {identity('gone')[:13]}") in said


def test_what_mending_needs() -> None:
    left = {
        "leases": {"10.244.1.9": {"container": "gone", "age": 300}},
        "left": ["dead 10.244.1.9 cni-1", "dead 10.1.1.1 x"],
    }
    (fault,) = judged(left)
    assert fault.leases == (Lease("cbr0", "10.244.1.9", identity("gone"), NOW - 300),)
    assert fault.dead == ("cni-1",)
    (fault,) = judged({"complaints": ["100 c1 failed", "90 c1 failed"]})
    (complaint,) = fault.complaints
    assert (complaint.uid, complaint.namespace, complaint.pod) == ("u", "/var/run/netns/cni-1", "ns/pod")


def test_they_are_told_in_the_order_in_which_they_are_mended() -> None:
    case = {
        "binaries": ["bridge is not there"],
        "bridges": ["4: cni0    inet 10.244.7.1/24 scope global cni0\\"],
        "complaints": ["100 c1 failed", "90 c1 failed"],
        "leases": {"10.244.1.9": {"container": "gone", "age": 300}},
        "unavailable": True,
    }
    assert tuple(each.kind for each in judged(case)) == FAULTS


def test_a_node_is_found_by_its_address_or_its_name() -> None:
    nodes = parse_cluster(cluster_output({}))
    assert node_of(nodes, "other", "10.0.0.1") is nodes[0]
    assert node_of(nodes, "node1", "10.0.0.9") is nodes[0]
    assert node_of(nodes, "other", "10.0.0.9") is None


@pytest.mark.parametrize("text", [b"", b"[]", b"{}\n==\n", b'{"items": [1]}\n==\n'])
def test_an_answer_that_is_none(text: bytes) -> None:
    with pytest.raises(ProvisionError, match="cannot be read"):
        parse_cluster(text)


def test_a_node_that_says_nothing_has_no_fault() -> None:
    assert parse_node(b"") == NodeNetwork()
    assert faults_of(Seen("worker1", NodeNetwork(), None)) == []


@pytest.mark.parametrize(
    ("case", "known", "said"),
    [
        ({}, True, []),
        ({"known": None}, True, ["its runtime does not answer"]),
        ({}, False, ["the cluster has no such node"]),
        ({"configuration": "{"}, True, ["10-flannel.conflist is no CNI configuration"]),
        ({"configuration": "[]"}, True, ["10-flannel.conflist is no CNI configuration"]),
    ],
)
def test_what_could_not_be_judged_is_said(case: Mapping[str, Any], known: bool, said: Sequence[str]) -> None:
    node = parse_cluster(cluster_output(case))[0] if known else None
    told = list(doubts(Seen("worker1", parse_node(node_output(case)), node)))
    assert len(told) == len(said)
    assert all(words in each for words, each in zip(said, told, strict=True))


def test_what_people_are_told() -> None:
    things = tuple(f"10.0.0.{number}" for number in range(9))
    fault = FaultFound(fault="leases", host="a", things=things, why="w", mend="m", cost="c")
    first, *rest = [line.text.strip() for line in lines_of(fault)]
    assert first == "a  leases: 10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5 and 3 more"
    assert rest == ["why: w", "to mend it: m", "cost: c"]
    fault = FaultFound(fault="leases", host="a", things=("x",), why="w", mend="", cost="c")
    assert [line.text.strip() for line in lines_of(fault)][2:] == ["cannot be mended from here: c"]


def test_only_some_faults() -> None:
    assert chosen("") == FAULTS
    assert chosen("leases, cni0") == ("cni0", "leases")
    with pytest.raises(InputError, match=r"there is no fault 'lease'.*did you mean 'leases'"):
        chosen("lease")


CTR = """#!/bin/sh
# Stands for ctr: two namespaces, whose containers are in files.
case "$*" in
"namespaces list -q") printf 'k8s.io\\nmoby\\n' ;;
"-n k8s.io containers list -q") cat {root}/containers ;;
"-n moby containers list -q") echo other ;;
*) exit 1 ;;
esac
"""
CONTAINERD = """#!/bin/sh
cat <<'END'
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "{root}/bin-cni"
      conf_dir = "{root}/net.d"
      cni_conf_dir = "/elsewhere"
END
"""


@dataclass
class Node(LocalSession):
    """This machine as a node whose runtime and plug-ins are below `root`."""

    def prepare(self, *containers: str) -> None:
        (self.root / "containers").write_text("".join(f"{each}\n" for each in containers))
        for name, text in (("ctr", CTR), ("containerd", CONTAINERD)):
            path = self.root / "bin" / name
            path.write_text(text.replace("{root}", str(self.root)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        for name in ("networks/cbr0", "bin-cni", "net.d"):
            (self.root / name).mkdir(parents=True)
        (self.root / "networks/cbr0/lock").touch()
        (self.root / "networks/cbr0/last_reserved_ip.0").write_text("10.244.1.9")

    def lease(self, address: str, container: str, age: int = 300) -> Path:
        path = self.root / "networks/cbr0" / address
        path.write_bytes(f"{container}\r\neth0".encode())
        os.utime(path, (time.time() - age,) * 2)
        return path

    def _text(self, text: str) -> str:
        text = text.replace("/var/lib/cni/networks", f"{self.root}/networks").replace(
            "/run/netns", f"{self.root}/netns"
        )
        text = text.replace("/opt/kubernetes/bin/kubectl", f"{self.root}/bin/kubectl")
        return f'PATH="{self.root}/bin:$PATH"\nexport PATH\n{super()._text(text)}'


@pytest.fixture(params=SHELLS)
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Node:
    (tmp_path / "own").mkdir()
    made = Node(tmp_path / "own", request.param)
    made.prepare("c1", "c2")
    return made


def read(node: Node) -> NodeNetwork:
    answer = node.run(read_script())
    assert answer.status == 0, answer.stderr
    return parse_node(answer.stdout)


def test_a_node_is_read(node: Node) -> None:
    for address, container in (("10.244.1.2", "c1"), ("10.244.1.9", "gone"), ("fd00::9", "other")):
        node.lease(address, container)
    (node.root / "net.d/20-later.conf").write_text("{}")
    (node.root / "net.d/10-flannel.conflist").write_text(json.dumps(FLANNEL))
    (node.root / "net.d/00-old.conflist.bak").write_text("{}")
    for name, content, mode in (
        ("flannel", b"\x7fELF\2", 0o755), ("bridge", b"", 0o755), ("portmap", b"#!/bin/false", 0o644),
        ("loopback", b"no program", 0o755),
    ):  # fmt: skip
        path = node.root / "bin-cni" / name
        path.write_bytes(content)
        path.chmod(mode)
    here = read(node)
    assert abs(here.now - time.time()) < 60
    assert {(each.address, each.container) for each in here.leases} == {
        ("10.244.1.2", "c1"), ("10.244.1.9", "gone"), ("fd00::9", "other")
    }  # fmt: skip
    assert all(250 < here.now - each.since < 400 for each in here.leases)
    assert here.known == frozenset({"c1", "c2", "other"})
    assert here.bin == str(node.root / "bin-cni")
    assert here.configuration is not None
    assert here.configuration.path == str(node.root / "net.d/10-flannel.conflist")
    assert here.configuration.types == ("flannel", "bridge", "host-local", "portmap")
    assert here.unfit == {
        "bridge": "is empty",
        "portmap": "may not be executed",
        "loopback": "is no program",
        "host-local": "is not there",
    }


def test_a_runtime_that_does_not_answer(node: Node) -> None:
    node.lease("10.244.1.9", "gone")
    (node.root / "containers").unlink()
    here = read(node)
    assert here.known is None
    assert len(here.leases) == 1
    with pytest.raises(ProvisionError):
        give_back(node, "cbr0", here.leases, ())
    assert (node.root / "networks/cbr0/10.244.1.9").exists()


def test_addresses_are_given_back(node: Node) -> None:
    """What has become somebody's since it was seen stays, and so does all that was not named."""
    for address, container in (("10.244.1.2", "c1"), ("10.244.1.7", "gone7"), ("10.244.1.8", "gone8")):
        node.lease(address, container)
    stale = node.lease("10.244.1.9", "gone9")
    seen = {each.address: each for each in read(node).leases}
    node.lease("10.244.1.7", "c2")
    node.lease("10.244.1.8", "gone8", age=0)
    named = [seen[address] for address in ("10.244.1.2", "10.244.1.7", "10.244.1.8", "10.244.1.9")]
    assert give_back(node, "cbr0", named, ()) == 1
    assert not stale.exists()
    left = {each.name for each in (node.root / "networks/cbr0").iterdir()}
    assert left == {"10.244.1.2", "10.244.1.7", "10.244.1.8", "lock", "last_reserved_ip.0"}


def test_host_local_is_waited_for(node: Node) -> None:
    """Its lock is the one that is taken."""
    stale = node.lease("10.244.1.9", "gone")
    leases = read(node).leases
    script: Script = give_back_script("cbr0", leases)
    with (node.root / "networks/cbr0/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=node.run, args=(script,))
        thread.start()
        time.sleep(1)
        assert stale.exists(), "not while host-local is at work"
    thread.join(30)
    assert not stale.exists()


def test_where_a_plug_in_is_at_work_for_it(node: Node) -> None:
    stale = node.lease("10.244.1.9", "gone")
    leases = read(node).leases
    with subprocess.Popen(["sleep", "30"], env={**os.environ, "CNI_CONTAINERID": "gone"}) as plug_in:
        time.sleep(0.2)
        assert "gone" in read(node).adding
        assert give_back(node, "cbr0", leases, ()) == 0
        plug_in.terminate()
    assert stale.exists()


KUBECTL = """#!/bin/sh
# Stands for kubectl: notes what it is called with, and the file behind -f.
echo "$*" >>{root}/asked
cat "$7" >>{root}/asked
[ ! -s {root}/said ] || { cat {root}/said >&2; exit 1; }
"""


@pytest.mark.parametrize(
    "said", ["", "Error from server (NotFound): none", "Error from server (Conflict): the UID"]
)
def test_just_these_pods_are_deleted(node: Node, said: str) -> None:
    """One that has gone, or whose name is another's by now, is no failure."""
    kubectl = node.root / "bin" / "kubectl"
    (node.root / "said").write_text(said)
    kubectl.write_text(KUBECTL.replace("{root}", str(node.root)))
    kubectl.chmod(0o755)
    pods = [
        Pod("ns", name, f"uid-{name}", "n", False, (), "Running", False, True, "ReplicaSet", ())
        for name in "ab"
    ]
    delete_pods(node, pods)
    asked = (node.root / "asked").read_text()
    for name in "ab":
        assert f"delete --raw /api/v1/namespaces/ns/pods/{name} -f" in asked
        assert f'"preconditions": {{"uid": "uid-{name}"}}' in asked


def test_pods_that_may_not_be_deleted(node: Node) -> None:
    kubectl = node.root / "bin" / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'Error from server (Forbidden): no' >&2\nexit 1\n")
    kubectl.chmod(0o755)
    with pytest.raises(ProvisionError, match="Forbidden"):
        delete_pods(node, [Pod("ns", "a", "u", "n", False, (), "", False, True, "", ())])
