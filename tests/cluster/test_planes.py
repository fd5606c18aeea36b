"""Control planes come, go, die and are replaced while a client writes; nodes take another address of the API server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cluster import ADMIN, BESIDE, Done, LabCluster, is_verified, own_lab, provision, until
from writer import a_writer

from provisioner.inventory.model import load_inventory
from provisioner.kube.etcdctl import etcdctl
from provisioner.lab.declared import plan_of
from provisioner.lab.power import power_off, power_on

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
NET = BESIDE.rpartition(".")[0]
PLANES = ("cp1", "cp2", "cp3")
WORKERS = ("worker1", "worker2")
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def planes() -> Iterator[LabCluster]:
    """With one control plane at first."""
    with own_lab(f"planes-{BESIDE.partition('/')[0].replace('.', '-')}", HA, BESIDE) as lab:
        done = lab.apply(inventory=declared(lab, "one", without=("cp2", "cp3")))
        assert is_verified(done), done
        yield lab


def declared(lab: LabCluster, name: str, *, without: tuple[str, ...] = (), **replaced: str) -> Path:
    """The lab's inventory, without some hosts, and with `endpoint` and `allow_even` (a line of the spec) replaced."""
    text = lab.inventory.read_text()
    left = [host for host in PLANES if host not in without]
    text = text.replace("        cp[1:3]:\n", "".join(f"        {host}:\n" for host in left))
    for host in without:
        text = re.sub(rf"        {host}:\n          ansible_host: .*\n", "", text)
    if "endpoint" in replaced:
        text = re.sub(r"        host: \S+ # the address.*", f"        host: {replaced['endpoint']}", text)
        text = re.sub(r"    load_balancer:\n(      .*\n)+", "", text)
    if "even" in replaced:
        text = text.replace("      kubernetes:\n", "      etcd: {allow_even: true}\n      kubernetes:\n", 1)
    path = lab.folder / f"{name}.yaml"
    path.write_text(text)
    return path


def members(lab: LabCluster, plane: str) -> dict[str, bool]:
    """Whether they vote, by name."""
    lines = lab.one(plane, f"{etcdctl()} member list").splitlines()
    return {line.split(", ")[2]: line.split(", ")[5] == "false" for line in lines}


def nodes(lab: LabCluster, plane: str) -> set[str]:
    return set(lab.one(plane, f"{ADMIN} get nodes -o name").replace("node/", "").split())


def new_disk(lab: LabCluster, host: str) -> None:
    """Another disk under the same name; the host is on afterwards."""
    plan = plan_of(load_inventory(lab.inventory))
    power_off(plan, host)
    for each in plan.host_directory(host).iterdir():
        if each.is_dir():
            shutil.rmtree(each)
    power_on(plan, host)


def remove(inventory: Path, host: str, *words: str) -> Done:
    return provision("remove", inventory, host, "--json", *words)


def whole(lab: LabCluster, done: Done, hosts: tuple[str, ...] = (*PLANES, *WORKERS)) -> None:
    """The run ended well, and all members vote and all nodes are there; nothing is left to do."""
    assert is_verified(done), done
    plane = next(host for host in hosts if host in PLANES)
    assert members(lab, plane) == {host: True for host in hosts if host in PLANES}
    assert nodes(lab, plane) == set(hosts)


def test_two_more_join(planes: LabCluster, tmp_path: Path) -> None:
    with a_writer(planes, planes.folder / "one.yaml", tmp_path, "cp1"):
        whole(planes, planes.apply())
    assert planes.plan().status == 0
    own = planes.on(
        "kube_control_plane", "grep -o 'etcd-servers=[^ ]*' /etc/systemd/system/kube-apiserver.service"
    )
    assert own == {host: f"etcd-servers=https://{NET}.{11 + n}:2379" for n, host in enumerate(PLANES)}
    assert set(planes.on("etcd", "ls /etc/kubernetes/etcd-seed.env 2>/dev/null || echo none").values()) == {
        "none"
    }


def test_the_first_is_replaced(planes: LabCluster, tmp_path: Path) -> None:
    """Under its name, by a machine that knows nothing."""
    with a_writer(planes, planes.inventory, tmp_path, "cp2"):
        new_disk(planes, "cp1")
        whole(planes, planes.apply())
    assert planes.plan().status == 0


def test_a_majority_is_kept(planes: LabCluster) -> None:
    plan = plan_of(load_inventory(planes.inventory))
    power_off(plan, "cp3")
    try:
        refused = remove(declared(planes, "gone", without=("cp3",), even="yes"), "cp2", "--yes")
        assert refused.status == 1, refused
        assert "no majority" in refused.stdout + refused.stderr
        assert members(planes, "cp1") == dict.fromkeys(PLANES, True)
    finally:
        power_on(plan, "cp3")
    until(lambda: "healthy" in planes.one("cp3", f"{etcdctl()} endpoint health 2>&1 || :"), "cp3 is back")


def test_the_first_leaves(planes: LabCluster, tmp_path: Path) -> None:
    asked = remove(planes.inventory, "cp1")
    assert asked.status == 1
    assert "its member leaves etcd" in asked.stdout + asked.stderr
    with a_writer(planes, planes.inventory, tmp_path, "cp2"):
        done = remove(planes.inventory, "cp1", "--yes")
        assert done.status == 0, done
    assert (
        planes.one("cp1", "ls -d /etc/kubernetes /var/lib/provision /var/lib/etcd/* 2>/dev/null || :") == ""
    )
    even = planes.apply(inventory=declared(planes, "two", without=("cp1",)))
    assert even.status == 3
    assert "2 etcd members" in even.stdout + even.stderr
    allowed = declared(planes, "even", without=("cp1",), even="yes")
    done = planes.apply(inventory=allowed)
    whole(planes, done, ("cp2", "cp3", *WORKERS))
    assert done.changed == set()
    assert remove(planes.inventory, "cp1", "--yes").status == 0, "what is done already is no mistake"
    whole(planes, planes.apply())


def test_one_dies_for_good(planes: LabCluster, tmp_path: Path) -> None:
    with a_writer(planes, planes.inventory, tmp_path, "cp2"):
        power_off(plan_of(load_inventory(planes.inventory)), "cp1")
        lost = remove(planes.inventory, "cp1", "--yes")
        assert lost.status == 4, lost
        assert "--dead" in lost.stdout + lost.stderr
        done = remove(planes.inventory, "cp1", "--yes", "--dead")
        assert done.status == 0, done
        assert members(planes, "cp2") == {"cp2": True, "cp3": True}
        assert nodes(planes, "cp2") == {"cp2", "cp3", *WORKERS}
        new_disk(planes, "cp1")
        whole(planes, planes.apply())


BUDGET = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: kept}
spec:
  selector: {matchLabels: {app: kept}}
  template:
    metadata: {labels: {app: kept}}
    spec:
      nodeSelector: {kubernetes.io/hostname: worker2}
      containers: [{name: kept, image: IMAGE, args: [pause]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: kept}
spec: {minAvailable: 1, selector: {matchLabels: {app: kept}}}
"""


def test_a_worker_leaves_when_its_pods_may(planes: LabCluster) -> None:
    image = f"$({ADMIN} get pods -n kube-system -o jsonpath='{{.items[0].spec.containers[0].image}}')"
    planes.one("cp1", f"cat <<'END' | sed \"s|IMAGE|{image}|\" | {ADMIN} apply -f -\n{BUDGET}\nEND")
    until(lambda: planes.one("cp1", f"{ADMIN} get pods -l app=kept -o name") != "", "the pod is made")
    held = remove(planes.inventory, "worker2", "--yes", "--drain-timeout", "6")
    assert held.status == 1, held
    assert "disruption budget" in held.stdout + held.stderr
    assert nodes(planes, "cp1") == {*PLANES, *WORKERS}
    planes.one("cp1", f"{ADMIN} delete poddisruptionbudget kept")
    done = remove(planes.inventory, "worker2", "--yes")
    assert done.status == 0, done
    assert nodes(planes, "cp1") == {*PLANES, "worker1"}
    planes.one("cp1", f"{ADMIN} delete deployment kept")
    whole(planes, planes.apply())


SERVERS = "sed -n 's/^ *server: //p' /etc/kubernetes/kubelet.kubeconfig /etc/kubernetes/kube-proxy.kubeconfig"
WALL = (
    "nft add table inet wall && nft add chain inet wall out '{ type filter hook output priority 0; }' &&"
    f" nft add rule inet wall out ip daddr {NET}.12 drop"
)
VIP, CP2 = (f"https://{NET}.{number}:6443\nhttps://{NET}.{number}:6443" for number in (9, 12))


def test_nodes_that_do_not_return_go_back(planes: LabCluster) -> None:
    direct = declared(planes, "direct", endpoint=f"{NET}.12")
    planes.one("worker2", WALL)
    try:
        done = planes.apply("--yes", inventory=direct)
    finally:
        planes.one("worker2", "nft delete table inet wall")
    assert done.status == 1, done
    assert next(event["reason"] for event in done.named("Failed")).startswith("worker2: not Ready again")
    assert planes.on("kube_node", SERVERS) == {"worker1": CP2, "worker2": VIP}
    until(lambda: "worker2" in ready(planes), "worker2 is Ready as before")
    done = planes.apply("--yes", inventory=direct)
    assert is_verified(done), done
    assert {host for host, _, _ in done.changed} == {"worker2"}
    assert set(planes.on("kube_node:kube_control_plane", SERVERS).values()) == {CP2}


def test_a_switch_that_nobody_approves_is_taken_back(planes: LabCluster) -> None:
    with planes.applying("--yes") as running:
        running.await_event(
            lambda event: event["event"] == "Changed" and event["resource"] == "endpoint_switch:begin"
        )
        running.kill()
    unapproved = planes.on("kube_node", "ls -d /var/lib/provision/endpoint 2>/dev/null || :")
    (host,) = [host for host, folder in unapproved.items() if folder]
    assert planes.on("kube_node", SERVERS)[host] == VIP
    # Its time is over, and its power was lost amid going back: what the timer, which boots with it, would start.
    planes.one(host, "systemctl list-dependencies timers.target | grep -q provision-endpoint-back.timer")
    planes.one(host, "mv -T /var/lib/provision/endpoint /var/lib/provision/endpoint.back")
    planes.one(host, "systemctl start provision-endpoint-back.service")
    assert planes.one(host, "ls /var/lib/provision /etc/systemd/system | grep endpoint || :") == ""
    assert planes.on("kube_node", SERVERS)[host] == CP2
    until(lambda: set(WORKERS) <= ready(planes), "all are Ready as before")
    done = planes.apply("--yes")
    whole(planes, done)
    assert set(planes.on("kube_node:kube_control_plane", SERVERS).values()) == {VIP}
    assert planes.plan().status == 0


def ready(lab: LabCluster) -> set[str]:
    return lab.ready_nodes()
