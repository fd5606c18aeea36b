"""A cluster that was built by hand gets load balancers, an address for its API and a second control plane, and goes on
as it is: the same nodes, the same pods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from handbuilt import HandBuilt
from lab_cluster import BESIDE, LabCluster, edited, own_lab, provision, until

HERE = Path(__file__).parent / "handbuilt.yaml"
NET = BESIDE.rpartition(".")[0]
VIP, MASTER, SECOND = f"{NET}.9", f"{NET}.11", f"{NET}.12"
OLD, NEW = f"https://{MASTER}:6443", f"https://{VIP}:6443"
WORKERS = {"worker1": f"{NET}.21", "worker2": f"{NET}.22"}
REISSUE = {"existing: opt-kubernetes": "existing: {preset: opt-kubernetes, reissue_api_certificate: true}"}
ONE_PLANE = {f"        cp2:\n          ansible_host: {SECOND}\n": ""}
READ_SERVERS = "grep -ho 'https://.*' /opt/kubernetes/cfg/*.kubeconfig | sort | uniq -c | tr -s ' '"
BARE = """
apt-get -qq -y purge curl keepalived nginx-common >/dev/null 2>&1
command -v curl keepalived nginx || :
"""
"""A lab has one root for all its hosts; nobody has prepared these for load balancing."""
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCluster]:
    with own_lab(f"handbuilt-{BESIDE.partition('/')[0].replace('.', '-')}", HERE, BESIDE) as made:
        if not made.one("cp1", "ls -d /opt/kubernetes || :"):
            assert set(made.on("load_balancer", BARE).values()) == {""}
            HandBuilt(made.folder, MASTER, WORKERS).build()
            image = "--image=registry.k8s.io/pause:3.10"
            made.one("cp1", f"kubectl create deployment p {image} --replicas=4")
            made.one("cp1", "kubectl wait --for=condition=Available deployment/p --timeout=60s")
        yield made


@pytest.fixture(scope="module")
def before(lab: LabCluster) -> Mapping[str, Any]:
    return identities(lab)


@pytest.fixture
def one_plane(lab: LabCluster, tmp_path: Path) -> Path:
    return edited(lab.inventory, tmp_path, {**REISSUE, **ONE_PLANE})


@pytest.fixture
def two_planes(lab: LabCluster, tmp_path: Path) -> Path:
    return edited(lab.inventory, tmp_path, REISSUE)


def identities(lab: LabCluster) -> dict[str, Any]:
    """UIDs of nodes and pods, with the pods' restarts."""
    said = lab.one("cp1", "kubectl get nodes,pods -o json")
    return {
        each["metadata"]["name"]: (
            each["metadata"]["uid"],
            [one["restartCount"] for one in each["status"].get("containerStatuses", ())],
        )
        for each in json.loads(said)["items"]
    }


def ready(lab: LabCluster) -> bool:
    return lab.one("cp1", "kubectl get nodes --no-headers").count(" Ready ") == len(WORKERS)


def test_names_that_the_certificate_lacks_are_told_before_anything_is_changed(lab: LabCluster) -> None:
    done = lab.apply()
    assert done.status == 1
    assert f"server.pem lacks {VIP}" in str(done), done
    assert "reissue_api_certificate: true" in str(done)
    assert set(lab.on("all", "ls -d /var/lib/provision 2>/dev/null || :").values()) == {""}


@pytest.mark.parametrize(
    ("replacements", "said"),
    [
        (
            {"service_cidrs: [10.97.0.0/24]": "service_cidrs: [10.96.0.0/16]"},
            "--service-cluster-ip-range=10.97.0.0/24",
        ),
        (
            {"        cp1:\n    kube": "        cp1:\n        worker1:\n        worker2:\n    kube"},
            "cannot be added yet",
        ),
        (
            {
                "      existing: opt-kubernetes\n": "      existing: {preset: opt-kubernetes, kubernetes: /opt/k8s}\n"
            },
            "cfg",
        ),
    ],
    ids=["other services", "more of etcd", "another folder"],
)
def test_what_does_not_fit_is_told(
    lab: LabCluster, tmp_path: Path, replacements: dict[str, str], said: str
) -> None:
    done = provision("plan", edited(lab.inventory, tmp_path, replacements), "--json")
    assert done.status in {1, 3}, done
    assert said in str(done), done


BROKEN = "/etc/systemd/system/kubelet.service.d/broken.conf"
BREAK = f"""
mkdir -p {BROKEN.rpartition("/")[0]}
printf '[Service]\\nExecStartPre=/bin/sh -c "! grep -q {VIP} /opt/kubernetes/cfg/kubelet.kubeconfig"\\n' >{BROKEN}
systemctl daemon-reload
"""


def test_a_node_that_does_not_return_goes_back_and_the_run_stops(
    lab: LabCluster, before: Mapping[str, Any], one_plane: Path
) -> None:
    lab.one("worker1", BREAK)
    refused = lab.apply(inventory=one_plane)
    assert refused.status == 1, refused
    assert "cp1: restarts kube-apiserver.service, which is running" in str(refused), refused
    done = lab.apply("--yes", inventory=one_plane)
    assert done.status == 1, done
    failure = done.only("Failed")
    assert (failure["host"], failure["stage"]) == ("worker1", "first node")
    assert "it has its old kubeconfigs again" in failure["stderr"]
    assert lab.on("kube_node", READ_SERVERS) == dict.fromkeys(WORKERS, f"3 {OLD}")
    until(lambda: ready(lab), "all nodes Ready again")
    assert identities(lab) == before


MEND = f"rm -f {BROKEN} && systemctl daemon-reload"
KILL_SCRIPT = "pkill -9 -f '[-]eu /run/provision' || :"
TIMER = "provision-endpoint-back.timer"
LEFT = (
    "ls /var/lib/provision /etc/systemd/system/timers.target.wants /etc/systemd/system | grep endpoint || :"
)


def cut_off(lab: LabCluster, inventory: Path, *, killed: bool) -> None:
    """A run that dies while it waits for worker1, which does not return. `killed`: its script there dies, too."""
    with lab.applying(inventory=inventory) as running:
        running.await_event(lambda event: event.get("resource") == "kubeconfig_server:server")
        until(lambda: lab.one("worker1", READ_SERVERS) == f"3 {NEW}", "the new kubeconfigs")
        running.kill()
    if killed:
        lab.one("worker1", KILL_SCRIPT)
    assert lab.one("worker1", READ_SERVERS) == f"3 {NEW}"
    assert lab.one("worker1", f"systemctl is-active {TIMER}") == "active"


def test_it_goes_back_without_a_controller(lab: LabCluster, one_plane: Path) -> None:
    cut_off(lab, one_plane, killed=True)
    lab.one("worker1", f"systemctl list-dependencies timers.target | grep -q {TIMER}")
    # Its time is over, also after a boot.
    lab.one("worker1", f"systemctl start {TIMER.replace('.timer', '.service')}")
    assert lab.one("worker1", READ_SERVERS) == f"3 {OLD}"
    assert lab.one("worker1", LEFT) == ""
    until(lambda: ready(lab), "all nodes Ready again")


def test_all_are_switched_and_nothing_is_made_anew(
    lab: LabCluster, before: Mapping[str, Any], one_plane: Path
) -> None:
    lab.one("worker1", MEND)
    done = lab.apply(inventory=one_plane)
    assert done.status == 0, done
    heard = lab.on("load_balancer", "command -v keepalived; ls /var/lib/provision/virtual-router-9")
    assert set(heard.values()) == {"/usr/sbin/keepalived\n/var/lib/provision/virtual-router-9"}
    assert "nodes_ready" in {each["gate"] for each in done.named("GatePassed")}
    assert lab.on("kube_node", READ_SERVERS) == dict.fromkeys(WORKERS, f"3 {NEW}")
    assert lab.one("cp1", "grep -c 'server: https://' /root/.kube/config") == "1"
    assert identities(lab) == before
    again = lab.apply(inventory=one_plane)
    assert (again.status, again.changed) == (0, set()), again


@pytest.mark.parametrize("killed", [False, True], ids=["its script goes on", "its script is dead"])
def test_the_next_run_goes_on_with_a_switch_that_was_cut_off(
    lab: LabCluster, before: Mapping[str, Any], one_plane: Path, killed: bool
) -> None:
    lab.one("worker1", f"sed -i s,{NEW},{OLD}, /opt/kubernetes/cfg/*.kubeconfig")
    lab.one("worker1", f"systemctl restart kubelet kube-proxy\n{BREAK}")
    until(lambda: ready(lab), "all nodes Ready")
    cut_off(lab, one_plane, killed=killed)
    with lab.applying(inventory=one_plane) as running:
        running.await_event(lambda event: event.get("stage") == "first node")
        lab.one("worker1", MEND)
        done = running.finish()
    assert done.status == 0, done
    assert ("worker1", "kubeconfig_server:server", "update") in done.changed
    # Nobody is left who could go back.
    assert lab.one("worker1", f"systemctl is-active {TIMER} || :") == "inactive"
    assert lab.one("worker1", f"pgrep -f '[-]eu /run/provision' || :\n{LEFT}") == ""
    assert lab.on("kube_node", READ_SERVERS) == dict.fromkeys(WORKERS, f"3 {NEW}")
    assert ready(lab)
    assert identities(lab) == before
    again = lab.apply(inventory=one_plane)
    assert (again.status, again.changed) == (0, set()), again


def test_an_api_server_that_does_not_start_has_its_old_certificate_again(
    lab: LabCluster, one_plane: Path
) -> None:
    path, folder = "/opt/kubernetes/ssl/server.pem", "/etc/systemd/system/kube-apiserver.service.d"
    kept = f"/var/lib/provision/displaced{path}"
    lab.one("cp1", f"cp {path} /root/new.pem && cp {kept} {path} && mkdir {folder}")
    lab.one(
        "cp1",
        f"printf '[Service]\\nExecStartPre=cmp {path} {kept}\\n' >{folder}/x.conf; systemctl daemon-reload",
    )
    try:
        done = lab.apply("--yes", inventory=one_plane)
        assert done.status == 1, done
        assert "it has the old one again" in done.only("Failed")["stderr"], done
        assert lab.one("cp1", f"cmp {path} {kept}") == ""
        asked = f"kubectl --server={OLD} get --raw /readyz 2>&1 || :"
        until(lambda: lab.one("cp1", asked) == "ok", "an API server that serves as before")
    finally:
        lab.one(
            "cp1",
            f"rm -r {folder}; systemctl daemon-reload; cp /root/new.pem {path}; systemctl restart kube-apiserver",
        )
    until(lambda: ready(lab), "all nodes Ready")


def test_the_certificate_has_the_name_and_all_that_it_had(lab: LabCluster) -> None:
    from provisioner.pki.reissue import names_of

    kept = "/var/lib/provision/displaced/opt/kubernetes/ssl/server.pem"
    old, new = (
        names_of(lab.one("cp1", f"cat {path}") + "\n") for path in (kept, "/opt/kubernetes/ssl/server.pem")
    )
    assert new == (*old, VIP)


def test_a_second_control_plane_serves(lab: LabCluster, before: Mapping[str, Any], two_planes: Path) -> None:
    done = lab.apply(inventory=two_planes)
    assert done.status == 0, done
    again = lab.apply(inventory=two_planes)
    assert (again.status, again.changed) == (0, set()), again
    assert identities(lab) == before
    admin = "/opt/kubernetes/bin/kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig"
    lab.one(
        "cp1", "systemctl kill -s KILL kube-apiserver; systemctl stop kube-apiserver kube-controller-manager"
    )
    try:
        assert lab.one("cp2", f"{admin} get --raw /readyz") == "ok"
        until(
            lambda: lab.one("cp2", f"{admin} --server={NEW} get --raw /readyz || :") == "ok",
            "an answer at the VIP",
        )
        lab.one("cp2", f"{admin} --server={NEW} scale deployment/p --replicas=5")
        lab.one(
            "cp2",
            f"{admin} --server={NEW} wait --for=jsonpath='{{.status.readyReplicas}}'=5 deployment/p --timeout=280s",
        )
    finally:
        lab.one("cp1", "systemctl start kube-apiserver kube-controller-manager")


def test_it_can_be_looked_at_like_any_other(lab: LabCluster, two_planes: Path) -> None:
    until(lambda: provision("verify", two_planes).status == 0, "a verified cluster")
    done = provision("status", two_planes)
    assert "no drift" in done.stdout, done
    assert "not healthy" not in done.stdout, done
    secret = lab.on(
        "kube_control_plane", "stat -c %a /opt/kubernetes/ssl/ca-key.pem /var/lib/provision/state/state.json"
    )
    assert set(secret.values()) == {"600\n600"}


def test_its_nodes_pod_networks_are_mended(lab: LabCluster, two_planes: Path) -> None:
    """As far as this tool has what is missing: whose plug-ins these are it does not know."""
    looked = provision("repair", two_planes, "--look", "--json")
    assert looked.status == 0, looked
    assert looked.only("Step")["subject"] == "2 nodes, 0 faults"
    lease, plug_in = "/var/lib/cni/networks/bridge/10.244.1.200", "/opt/cni/bin/host-local"
    lab.one("worker1", f"printf 'gone\\r\\neth0' >{lease}; touch -d '-3 min' {lease}; mv {plug_in} /root/")
    try:
        done = provision("repair", two_planes, "--yes", "--json")
        assert done.status == 1, done
        found = {
            each["fault"]: (each["host"], each["things"], each["cost"]) for each in done.named("FaultFound")
        }
        assert found == {
            "binaries": ("worker1", [plug_in], f"nothing here brings it: put it there as {plug_in}"),
            "leases": ("worker1", ["10.244.1.200 of bridge"], "nothing"),
        }
        assert [each["resource"] for each in done.named("Failed")] == [f"binaries:{plug_in}"]
        assert lab.one("worker1", f"ls {lease} || :") == ""
    finally:
        lab.one("worker1", f"mv /root/host-local {plug_in}")
    assert provision("repair", two_planes, "--look").status == 0
    assert ready(lab)


def test_it_stays_the_builders(lab: LabCluster, tmp_path: Path) -> None:
    """Without `existing` the inventory means a cluster of our own: that is refused, not installed over it."""
    registry = "      kubernetes:\n        version"
    changes = {
        "      existing: opt-kubernetes\n": "",
        registry: f"      registry: {{host: r.example.org}}\n{registry}",
    }
    done = provision("plan", edited(lab.inventory, tmp_path, changes), "--json")
    assert done.status == 3, done
    assert "the cluster runs with opt-kubernetes" in str(done), done
