"""Other ways to the API servers than hosts of their own: on the control planes, on each node, somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
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
                until(lambda at=after: ready_again(lab, "worker1", at), "a kubelet that goes on")  # type: ignore[misc]
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


SAMPLED = """
systemctl stop sampled 2>/dev/null || :
cat >/run/sampled.sh <<'END'
while :; do echo "$(date +%%s%%N) $(ip -4 -o addr show to %s | wc -l)"; sleep 0.1; done >/run/sampled
END
systemd-run --quiet --collect --unit sampled sh /run/sampled.sh
"""
RESTING = GROUP.replace("    load_balancer:", "    resting:")


def held_twice(samples: list[list[tuple[int, bool]]]) -> list[int]:
    """When the first host had the address, and the second had it both in the sample before that and after."""
    first, second = samples
    pairs = [(one[0], two[0]) for one, two in pairwise(second) if one[1] and two[1]]
    return [moment for moment, held in first if held and any(a <= moment <= b for a, b in pairs)]


def transitions(lab: LabCluster) -> dict[str, str]:
    """Since when each node is Ready."""
    return {
        node["metadata"]["name"]: each["lastTransitionTime"]
        for node in lab.objects("nodes")
        for each in node["status"]["conditions"]
        if (each["type"], each["status"]) == ("Ready", "True")
    }


def test_load_balancers_leave_and_their_address_changes(tmp_path: Path) -> None:
    """The address is on one host at each moment, and every node is Ready all the time."""
    count = 0

    def variant(lab: LabCluster, changes: dict[str, str]) -> Path:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        return lab.edited(folder, {old.replace("10.98.1", NET): new for old, new in changes.items()})

    def known(lab: LabCluster) -> set[str]:
        return set(
            lab.on("kube_node:kube_control_plane", "grep server: /etc/kubernetes/kubelet.kubeconfig").values()
        )

    new_vip = {"host: 10.98.1.9 ": f"host: {NET}.8 ", "        port: 6443\n": "        port: 7443\n"}
    with a_lab(tmp_path, {}) as lab:
        done = lab.apply()
        assert is_verified(done), done
        since = transitions(lab)

        refused = lab.apply(inventory=variant(lab, new_vip))
        assert refused.status == 3, refused
        assert f"they know the API server as {NET}.9:6443" in refused.stdout + refused.stderr
        assert provision("plan", lab.inventory).status == 0, "nothing was changed"

        # The one with the address leaves the group.
        (leaving,) = [
            host for host, line in lab.on("lb1:lb2", f"ip -4 -o addr show to {NET}.9").items() if line
        ]
        number = {"lb1": 5, "lb2": 6}[leaving]
        line = f"        {leaving}:\n          ansible_host: {NET}.{number}\n"
        group = GROUP.replace("10.98.1", NET)
        alone = variant(lab, {group: f"{group.replace(line, '')}    resting:\n      hosts:\n{line}"})
        refused = lab.apply("--yes", inventory=alone)
        assert refused.status == 3, refused
        assert f"{leaving} was a load balancer, and its keepalived would take" in refused.stdout
        lab.on("lb1:lb2", SAMPLED % f"{NET}.9")
        done = provision("remove", lab.inventory, leaving, "--yes", "--json")
        assert is_verified(done), done
        fewer = variant(lab, {line: ""})
        samples = [
            [(int(moment), held == "1") for moment, held in map(str.split, text.splitlines())]
            for text in lab.on("lb1:lb2", "systemctl stop sampled; cat /run/sampled").values()
        ]
        assert all(any(held for _, held in each) for each in samples), "it moved"
        assert held_twice(samples) == []
        staying = {"lb1": "lb2", "lb2": "lb1"}[leaving]
        running = lab.one(leaving, "systemctl is-active keepalived api-load-balancer || :").split()
        assert "active" not in running
        lab.one(staying, "keepalived --config-test; systemctl restart keepalived")
        until(lambda: bool(lab.one(staying, f"ip -4 -o addr show to {NET}.9")), "it starts alone, too")
        assert provision("plan", fewer).status == 0

        # By way of a control plane to another address and port.
        around = variant(
            lab, {"host: 10.98.1.9 ": f"host: {NET}.11 ", group: RESTING.replace("10.98.1", NET)}
        )
        done = lab.apply("--yes", inventory=around)
        assert is_verified(done), done
        assert known(lab) == {f"server: https://{NET}.11:6443"}
        done = lab.apply("--yes", inventory=variant(lab, new_vip))
        assert is_verified(done), done
        assert known(lab) == {f"server: https://{NET}.8:7443"}
        assert transitions(lab) == since, "every node was Ready all the time"
