"""Other ways to the API servers than hosts of their own: on the control planes, on each node, somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_cluster import BESIDE, LabCluster, edited, is_verified, own_lab, provision, restarted, until

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
ENDPOINT = (
    "        host: 10.98.1.9 # the address that the load balancers share: on their link, and no host's own\n"
)
GROUP = """\
    load_balancer:
      hosts:
        lb1:
          ansible_host: 10.98.1.5
        lb2:
          ansible_host: 10.98.1.6
"""
SMALLER = {
    "    etcd:\n      hosts:\n        cp[1:3]:\n": "    etcd:\n      hosts:\n        cp1:\n",
    "        cp3:\n          ansible_host: 10.98.1.13\n": "",
    "        worker2:\n          ansible_host: 10.98.1.22\n": "",
}
"""Two API servers before one etcd member, and one worker."""
NET = BESIDE.rpartition(".")[0]
pytestmark = pytest.mark.soak


@contextmanager
def a_lab(folder: Path, changes: dict[str, str]) -> Iterator[LabCluster]:
    source = edited(HA, folder, {**SMALLER, **changes})
    name = f"balancing-{BESIDE.partition('/')[0].replace('.', '-')}"
    with own_lab(name, source, BESIDE) as lab:
        yield lab


def answers_at(lab: LabCluster, host: str, url: str) -> bool:
    """Whether an API server that the cluster's CA knows is ready there, asked from a host."""
    ask = f"curl -sf --max-time 2 --noproxy '*' --cacert /etc/kubernetes/pki/ca.crt {url}/readyz || :"
    return lab.one(host, ask) == "ok"


def ready_again(lab: LabCluster, node: str, after: str) -> bool:
    """Whether the kubelet has told the API since then that its node is ready."""
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    lease = lab.kubectl(f"-n kube-node-lease get lease {node} -o jsonpath='{{.spec.renewTime}}'")
    return lab.kubectl(f"get node {node} -o jsonpath='{path}'") == "True" and lease > after


def now(lab: LabCluster) -> str:
    return lab.one("cp1", "date -u +%Y-%m-%dT%H:%M:%S.999999Z")


def test_load_balancers_on_control_planes(tmp_path: Path) -> None:
    """On another port than the API servers'; and the address moves when a control plane goes."""
    group = GROUP.replace("lb1:\n          ansible_host: 10.98.1.5", "cp1:").replace(
        "lb2:\n          ansible_host: 10.98.1.6", "cp2:"
    )
    changes = {GROUP: group, "        port: 6443\n": "        port: 8443\n"}
    with a_lab(tmp_path, changes) as lab:
        refused = provision("plan", edited(lab.inventory, tmp_path, {"port: 8443": "port: 6443"}))
        assert refused.status == 3, refused
        assert "set endpoint.port to 8443" in refused.stderr
        done = lab.apply()
        assert is_verified(done), done
        again = lab.apply()
        assert is_verified(again), again
        assert again.changed == set()

        vip = f"{NET}.9"
        said = lab.on("load_balancer", f"ip -4 -o addr show to {vip}")
        (holder,) = [host for host, line in said.items() if line]
        other = {"cp1": "cp2", "cp2": "cp1"}[holder]
        assert f"server: https://{vip}:8443" in lab.one("worker1", "cat /etc/kubernetes/kubelet.kubeconfig")
        lab.one(holder, "systemctl stop api-load-balancer")
        until(lambda: bool(lab.one(other, f"ip -4 -o addr show to {vip}")), "the other has the address")
        until(lambda: answers_at(lab, "worker1", f"https://{vip}:8443"), "an answer from the other")
        lab.one(holder, "systemctl start api-load-balancer")


def test_a_load_balancer_on_each_node(tmp_path: Path) -> None:
    """Everything on a node talks to 127.0.0.1, and gets on when an API server dies."""
    changes = {
        GROUP: "",
        ENDPOINT: "        host: 10.98.1.11\n",
        "      registry:\n        host": "      load_balancer:\n        mode: local\n      registry:\n        host",
    }
    with a_lab(tmp_path, changes) as lab:
        done = lab.apply()
        assert is_verified(done), done
        again = lab.apply()
        assert is_verified(again), again
        assert again.changed == set()
        local = "server: https://127.0.0.1:6443"
        for name in ("kubelet", "kube-proxy"):
            said = lab.on("cp1:cp2:worker1", f"grep server: /etc/kubernetes/{name}.kubeconfig")
            assert set(said.values()) == {local}
        listens = lab.one("worker1", "ss -Hltn 'sport = :6443'").split()
        assert "127.0.0.1:6443" in listens, "for itself alone"
        assert "0.0.0.0:6443" not in listens
        assert lab.on("cp1:cp2", "systemctl is-active api-load-balancer || :") == {
            "cp1": "inactive",
            "cp2": "inactive",
        }
        before = lab.invocations()
        for server in ("cp2", "cp1"):
            lab.one(server, "systemctl stop kube-apiserver")
            until(lambda: answers_at(lab, "worker1", "https://127.0.0.1:6443"), "an answer by the other")
            after = now(lab)
            if server == "cp2":  # kubectl asks cp1's own
                until(lambda at=after: ready_again(lab, "worker1", at), "a kubelet that goes on", 60)  # type: ignore[misc]
            lab.one(server, "systemctl start kube-apiserver")
            until(lambda at=server: answers_at(lab, at, "https://127.0.0.1:6443"), "that it is back")  # type: ignore[misc]
        units = {unit for unit in restarted(before, lab.invocations()) if "worker1" in unit}
        assert units == set(), "nothing on the node had to start anew"
        assert "api-load-balancer" not in provision("status", lab.inventory).stdout.partition("host  ")[0]


BALANCER = f"""
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<'END'
table ip edge {{
  chain in {{
    type nat hook prerouting priority dstnat
    tcp dport 7443 dnat to numgen inc mod 2 map {{ 0: {NET}.11, 1: {NET}.12 }}:6443
  }}
  chain out {{
    type nat hook postrouting priority srcnat
    ct status dnat masquerade
  }}
}}
END
"""
"""By hand, on a host of no role: the kernel's own, for connections in turn."""


def test_a_load_balancer_that_exists_already(tmp_path: Path) -> None:
    """Where it does not lead to the API servers the run says what it has to do, and goes on once it does."""
    edge = "    repository:\n      hosts:\n        edge:\n          ansible_host: 10.98.1.7\n"
    changes = {
        GROUP: edge,
        ENDPOINT: "        host: 10.98.1.8\n",
        "        port: 6443\n": "        port: 7443\n",
    }
    with a_lab(tmp_path, changes) as lab:
        lab.one("edge", f"ip addr add {NET}.8/24 dev eth0")
        done = lab.apply()
        assert done.status == 1, done
        failed = done.only("Failed")
        assert failed["resource"] == "gate:endpoint_ready"
        assert f"does not answer at {NET}.8:7443" in failed["reason"]
        assert f"on to {NET}.11:6443, {NET}.12:6443, TLS untouched" in failed["hint"]
        assert lab.one("worker1", "ls /etc/kubernetes/*.kubeconfig 2>/dev/null || :") == "", (
            "no node points there"
        )

        lab.one("edge", BALANCER)
        done = lab.apply()
        assert is_verified(done), done
        said = lab.one("worker1", "grep server: /etc/kubernetes/kubelet.kubeconfig")
        assert said == f"server: https://{NET}.8:7443"
        assert provision("plan", lab.inventory).status == 0
