"""Faults of a node's pod network, made for real beside pods at work: each is named and nothing else is, and mended."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab_cluster import ADMIN, Done, LabCluster, provision, until

NODE = "worker1"
_FAR = "worker2"
_CTR = "ctr --namespace k8s.io"
_FLANNEL = "/var/lib/cni/flannel"
_LEASES = "/var/lib/cni/networks/cbr0"


@pytest.fixture(scope="module")
def at_work(cluster: LabCluster) -> Iterator[LabCluster]:
    """A pod on each of two nodes, and nothing is wrong."""
    run(cluster, "near", NODE)
    run(cluster, "far", _FAR)
    cluster.kubectl("wait pod near far --for=condition=Ready --timeout=60s")
    assert look(cluster).status == 0
    yield cluster
    cluster.kubectl("delete pod near far --ignore-not-found --wait=false")


@pytest.fixture(autouse=True)
def others_go_on(at_work: LabCluster) -> Iterator[None]:
    """Whatever a test breaks and mends, pods that are not its own stay and can be talked to; in the end nothing is
    wrong."""
    before = at_work.pods()
    yield
    after = at_work.pods()
    kept = {name: each for name, each in before.items() if not name.startswith("kube-flannel/")}
    assert {name: after.get(name) for name in kept} == kept
    talks(at_work, "near")
    assert look(at_work).status == 0


def run(cluster: LabCluster, name: str, node: str) -> None:
    """Makes a pod that answers, on a node."""
    spec = {"spec": {"nodeName": node, "terminationGracePeriodSeconds": 1}}
    cluster.kubectl(
        f"run {name} --image={cluster.agnhost()} --overrides='{json.dumps(spec)}' --command -- /agnhost netexec"
    )


def talks(cluster: LabCluster, name: str) -> None:
    """From a pod on the other node."""
    address = cluster.kubectl(f"get pod {name} -o jsonpath='{{.status.podIP}}'")
    cluster.kubectl(f"exec far -- /agnhost connect {address}:8080 --timeout=5s")


def comes(cluster: LabCluster, name: str) -> None:
    """A pod that is there, or is made, starts, talks, and goes again."""
    if not cluster.kubectl(f"get pod {name} --ignore-not-found -o name"):
        run(cluster, name, NODE)
    cluster.kubectl(f"wait pod {name} --for=condition=Ready --timeout=60s")
    talks(cluster, name)
    cluster.kubectl(f"delete pod {name} --timeout=60s")


def look(cluster: LabCluster, *words: str) -> Done:
    return provision("repair", cluster.inventory, "--look", "--json", *words)


def seen(cluster: LabCluster) -> dict[tuple[str, str], list[str]]:
    """What a look finds wrong, by host and kind."""
    done = look(cluster)
    assert done.status == 2, done
    (end,) = done.named("RunEnded")
    assert end["extra"]["faults"] == len(done.named("FaultFound"))
    found: dict[tuple[str, str], list[str]] = {}
    for each in done.named("FaultFound"):
        assert each["why"], each
        assert each["mend"], each
        found.setdefault((each["host"], each["fault"]), []).extend(each["things"])
    return found


def mended(cluster: LabCluster) -> Done:
    done = provision("repair", cluster.inventory, "--yes", "--json")
    assert done.status == 0, done
    assert set(done.only("RunEnded")["changed"]) == {NODE}
    return done


def sandbox(cluster: LabCluster, pod: str) -> str:
    """The id of a pod's sandbox."""
    which = f'labels."io.kubernetes.pod.name"=={pod},labels."io.cri-containerd.kind"==sandbox'
    return cluster.one(NODE, f"{_CTR} containers list -q '{which}'")


def given_away(cluster: LabCluster, container: str, minutes: int) -> str:
    """An address that host-local gives to a container that is not there; since when."""
    subnet = cluster.one(NODE, ". /run/flannel/subnet.env; echo $FLANNEL_SUBNET").replace(".1/", ".0/")
    told = json.dumps({
        "cniVersion": "0.3.1", "name": "cbr0", "ipam": {"type": "host-local", "subnet": subnet}
    })  # fmt: skip
    call = f"CNI_CONTAINERID={container} CNI_NETNS=/dev/null CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin"
    said = cluster.one(NODE, f"echo '{told}' | CNI_COMMAND=ADD {call} /opt/cni/bin/host-local")
    address: str = json.loads(said)["ips"][0]["address"].partition("/")[0]
    cluster.one(NODE, f"touch -d '-{minutes} min' {_LEASES}/{address}")
    return address


def test_leases_of_sandboxes_that_are_gone(at_work: LabCluster) -> None:
    stale, fresh, lived_in = (
        given_away(at_work, letter * 64, age) for letter, age in (("a", 3), ("b", 0), ("c", 3))
    )
    for name, address in (("cni-dead", stale), ("cni-lives", lived_in)):
        at_work.one(
            NODE,
            f"ip netns add {name}; ip -n {name} link add pod0 type veth peer name pod1\n"
            f"ip -n {name} link set pod0 up; ip -n {name} addr add {address}/24 dev pod0",
        )
    at_work.one(NODE, "systemd-run -q --unit=lives ip netns exec cni-lives sleep 600")
    before = set(at_work.one(NODE, f"ls {_LEASES}").split())
    assert seen(at_work) == {(NODE, "leases"): [f"{stale} of cbr0"]}
    asked = provision("repair", at_work.inventory, "--json")
    assert asked.status == 1, asked
    assert "consent" in asked.stdout + asked.stderr
    assert set(at_work.one(NODE, f"ls {_LEASES}").split()) == before, "nothing is done unasked"
    mended(at_work)
    assert set(at_work.one(NODE, f"ls {_LEASES}").split()) == before - {stale}
    assert at_work.one(NODE, "ls /run/netns | grep -E 'dead|lives'") == "cni-lives"
    at_work.one(
        NODE, f"systemctl stop lives; ip netns delete cni-lives; rm {_LEASES}/{fresh} {_LEASES}/{lived_in}"
    )
    comes(at_work, "new")


def test_another_address_of_the_bridge(at_work: LabCluster) -> None:
    right = at_work.one(NODE, ". /run/flannel/subnet.env; echo $FLANNEL_SUBNET")
    at_work.one(NODE, f"ip addr del {right} dev cni0; ip addr add 10.244.77.1/24 dev cni0")
    run(at_work, "new", NODE)
    assert seen(at_work) == {(NODE, "cni0"): ["cni0"]}
    mended(at_work)
    comes(at_work, "new")


def test_plug_ins_that_are_missing(at_work: LabCluster) -> None:
    """One of the bundle's, and one that flannel's own pod brings; a pod cannot go for want of them, nor one come."""
    run(at_work, "old", NODE)
    at_work.kubectl("wait pod old --for=condition=Ready --timeout=60s")
    at_work.one(NODE, "cd /opt/cni/bin; rm host-local; : >flannel")
    found = sandbox(at_work, "old")
    at_work.kubectl("delete pod old --wait=false")
    run(at_work, "new", NODE)
    until(lambda: look(at_work, "--only", "sandboxes").status == 2, "the runtime complains")
    assert look(at_work, "--limit", _FAR).status == 0
    assert look(at_work, "--only", "leases,cni0,condition").status == 0
    assert seen(at_work) == {
        (NODE, "binaries"): ["/opt/cni/bin/host-local", "/opt/cni/bin/flannel"],
        (NODE, "sandboxes"): [f"{found[:13]} of default/old"],
    }
    started = at_work.invocations()
    mended(at_work)
    assert at_work.invocations() == started, "the kubelet took it down, once it could"
    until(lambda: gone(at_work, "old"), "the pod goes")
    comes(at_work, "new")
    assert at_work.plan().status == 0


def stuck(cluster: LabCluster, pod: str) -> str:
    """A sandbox whose network cannot be taken away: what flannel's plug-in noted of it was cut off."""
    run(cluster, pod, NODE)
    cluster.kubectl(f"wait pod {pod} --for=condition=Ready --timeout=60s")
    found = sandbox(cluster, pod)
    cluster.one(NODE, f"truncate -s 20 {_FLANNEL}/{found}")
    cluster.kubectl(f"delete pod {pod} --wait=false")
    until(lambda: look(cluster, "--only", "sandboxes").status == 2, "the runtime complains")
    return found


def gone(cluster: LabCluster, pod: str) -> bool:
    return not cluster.kubectl(f"get pod {pod} --ignore-not-found -o name")


def test_a_sandbox_that_cannot_be_taken_down(at_work: LabCluster) -> None:
    address = stuck(at_work, "tough") and at_work.kubectl("get pod tough -o jsonpath='{.status.podIP}'")
    assert seen(at_work) == {(NODE, "sandboxes"): [f"{sandbox(at_work, 'tough')[:13]} of default/tough"]}
    started = at_work.invocations()
    mended(at_work)
    assert at_work.invocations() == started, "the kubelet did it"
    until(lambda: gone(at_work, "tough"), "the pod goes")
    assert address not in at_work.one(NODE, f"ls {_LEASES}").split()
    comes(at_work, "new")


@pytest.mark.soak
def test_a_sandbox_that_the_runtime_has_to_forget(at_work: LabCluster) -> None:
    """Nobody tries again, and nothing is noted that could be in the way."""
    found = stuck(at_work, "tougher")
    at_work.one(NODE, f"systemctl stop kubelet; rm {_FLANNEL}/{found}")
    assert seen(at_work) == {(NODE, "sandboxes"): [f"{found[:13]} of default/tougher"]}
    mended(at_work)
    assert found not in at_work.one(NODE, f"{_CTR} containers list -q")
    assert at_work.one(NODE, f"grep -l {found} {_LEASES}/* || :") == ""
    at_work.one(NODE, "systemctl start kubelet")
    until(lambda: gone(at_work, "tougher"), "the pod goes")
    until(lambda: NODE in at_work.ready_nodes(), "the node is Ready")
    comes(at_work, "new")


def test_a_condition_that_was_left(at_work: LabCluster) -> None:
    condition = {"type": "NetworkUnavailable", "status": "True", "reason": "CalicoIsDown"}
    patch = json.dumps({"status": {"conditions": [condition]}})
    at_work.kubectl(f"patch node {NODE} --subresource=status --type=strategic -p '{patch}'")
    taints = f"{ADMIN} get node {NODE} -o jsonpath='{{.spec.taints[*].key}}'"
    until(lambda: "network-unavailable" in at_work.one("cp1", taints), "it is tainted")
    assert seen(at_work) == {(NODE, "condition"): [NODE]}
    mended(at_work)
    until(lambda: not at_work.one("cp1", taints), "the taint goes")
    comes(at_work, "new")
