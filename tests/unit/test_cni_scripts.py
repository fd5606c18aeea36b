"""The scripts that read a node's pod network and mend it, run for real."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cnioutput import FLANNEL
from localhost import SHELLS, LocalSession

from provisioner.errors import ProvisionError
from provisioner.kube.cnicluster import Pod
from provisioner.kube.cnimend import delete_pods, give_back, give_back_script
from provisioner.kube.cniread import NodeNetwork, parse_node
from provisioner.kube.cniscript import read_script
from provisioner.shell.script import Script

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
