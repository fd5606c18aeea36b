"""Pod networks in their modes, on clusters of their own: traffic passes, and on the wire it looks as the mode says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest
from lab_cluster import (
    ADMIN,
    BESIDE,
    DEFAULT_LAB,
    Done,
    LabCluster,
    edited,
    is_verified,
    own_lab,
    provision,
    until,
)

NODES = ("cp1", "worker1", "worker2")
PLUGIN = """        plugin: flannel
"""
CIDRS = """        pod_cidrs: [10.244.0.0/16] # a list: one IPv4 CIDR, one IPv6 CIDR, or one of each
        service_cidrs: [10.96.0.0/16]
"""
BOTH_FAMILIES = """        pod_cidrs: [10.244.0.0/16, "fd00:244::/56"]
        service_cidrs: [10.96.0.0/16, "fd00:96::/112"]
"""
SECOND_ADDRESS = """
v4=$(ip -4 -o addr show dev eth0 | sed 's/.*inet [0-9.]*\\.\\([0-9]*\\)\\/.*/\\1/')
ip -6 addr replace "fd00:98::$v4/64" dev eth0 nodad
"""
FLANNEL = """        flannel:
          backend: vxlan # or host-gw, when all nodes share one network segment
"""
APART = str(ip_network(BESIDE).supernet(new_prefix=23)[0] + 512) + "/24"
"""Of another lab at the same time."""
pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Mode:
    """`spec` in place of the plug-in's own part; `tunnel` are packets (nft) that carry those of pods between nodes, or,
    `plain`, must not be seen. `link` is the one that the plug-in makes, "" for none. `families`: how many IP families
    nodes, pods and services have. `routed`: the way to other nodes' pods is not the plug-in's, it is laid by hand.
    `typha`: agents are told by it alone."""

    name: str
    plugin: str
    spec: str
    tunnel: str
    link: str
    plain: bool = False
    families: int = 1
    routed: bool = False
    typha: bool = False


def flannel(name: str, options: str, tunnel: str, link: str, *, plain: bool = False) -> Mode:
    return Mode(f"flannel {name}", "flannel", f"        flannel: {options}\n", tunnel, link, plain)


def calico(name: str, options: str, tunnel: str, link: str, *, plain: bool = False) -> Mode:
    return Mode(f"Calico {name}", "calico", f"        calico: {options}\n", tunnel, link, plain)


def canal(name: str, options: str, tunnel: str, link: str, *, plain: bool = False) -> Mode:
    return Mode(f"canal {name}", "canal", f"        flannel: {options}\n", tunnel, link, plain)


def two_families(mode: Mode) -> Mode:
    return replace(mode, name=f"{mode.name}, two families", families=2)


MODES = [
    flannel("vxlan", "{backend: vxlan, vni: 7, port: 4788}", "udp dport 4788", "flannel.7"),
    flannel(
        "DirectRouting", "{backend: vxlan, direct_routing: true}", "udp dport 8472", "flannel.1", plain=True
    ),
    flannel("host-gw", "{backend: host-gw}", "udp dport 8472", "", plain=True),
    flannel("udp", "{backend: udp}", "udp dport 8285", "flannel0"),
    calico("VXLAN", "{encapsulation: VXLAN}", "udp dport 4789", "vxlan.calico"),
    calico(
        "VXLANCrossSubnet", "{encapsulation: VXLANCrossSubnet}", "udp dport 4789", "vxlan.calico", plain=True
    ),
    calico("None", "{encapsulation: None}", "udp dport 4789", "", plain=True),
    canal("vxlan", "{backend: vxlan}", "udp dport 8472", "flannel.1"),
    canal("host-gw", "{backend: host-gw}", "udp dport 8472", "", plain=True),
    two_families(flannel("vxlan", "{backend: vxlan}", "udp dport 8472", "flannel-v6.1")),
    two_families(flannel("host-gw", "{backend: host-gw}", "udp dport 8472", "", plain=True)),
    two_families(calico("VXLAN", "{encapsulation: VXLAN}", "udp dport 4789", "vxlan-v6.calico")),
    two_families(calico("None", "{encapsulation: None}", "udp dport 4789", "", plain=True)),
    two_families(canal("vxlan", "{backend: vxlan}", "udp dport 8472", "flannel-v6.1")),
    replace(
        calico("Typha", "{encapsulation: VXLAN, typha: true}", "udp dport 4789", "vxlan.calico"), typha=True
    ),
    calico(
        "route reflectors",
        "{encapsulation: None, bgp: {route_reflectors: [cp1, worker1]}}",
        "udp dport 4789",
        "",
        plain=True,
    ),
    replace(
        calico("policy only", "{policy_only: true}", "udp dport 4789", "", plain=True),
        routed=True,
        typha=True,
    ),
]
COUNTING = """
nft delete table inet seen 2>/dev/null || :
nft -f - <<'END'
table inet seen {{
  counter outer {{ }}
  counter own {{ }}
  counter own6 {{ }}
  chain came {{
    type filter hook prerouting priority -300;
    iifname "eth0" {tunnel} counter name outer
    iifname "eth0" ip saddr 10.244.0.0/16 counter name own
    iifname "eth0" ip6 saddr fd00:244::/56 counter name own6
  }}
}}
END
"""
COUNTED = """
for each in outer own own6; do
  nft list counter inet seen $each | sed -n 's/.*packets \\([0-9]*\\) .*/\\1/p'
done
"""


def counted(lab: LabCluster, host: str) -> tuple[int, int, int]:
    """Packets that came to the host since COUNTING: of the tunnel, and with pods' own addresses (IPv4, IPv6)."""
    tunnel, plain, plain6 = lab.one(host, COUNTED).split()
    return int(tunnel), int(plain), int(plain6)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCluster]:
    with own_lab(f"networks-{BESIDE.partition('/')[0].replace('.', '-')}", subnet=BESIDE) as lab:
        yield lab


def chosen(lab: LabCluster, mode: Mode, folder: Path) -> Path:
    cidrs = BOTH_FAMILIES if mode.families == 2 else CIDRS
    return lab.edited(folder, {PLUGIN: f"        plugin: {mode.plugin}\n", FLANNEL: mode.spec, CIDRS: cidrs})


def routed(lab: LabCluster) -> bool:
    """Each node gets, as from a router, the way to the pods of those that are there; whether all are."""
    words = '{range .items[*]}{.metadata.name} {.spec.podCIDR}{"\\n"}{end}'
    answer = lab.one("cp1", f"{ADMIN} get nodes -o jsonpath='{words}' 2>/dev/null || :")
    pods = dict(line.split() for line in answer.splitlines() if line.count(" ") == 1 and line.split()[1:])
    for host in NODES:
        ways = [f"ip route replace {pods[node]} via {lab.address(node)}" for node in pods if node != host]
        lab.one(host, "\n".join([":", *ways]))
    return pods.keys() == set(NODES)


def brought_up(lab: LabCluster, mode: Mode, inventory: Path) -> Done:
    if not mode.routed:
        return lab.apply(inventory=inventory)
    ended = Event()

    def lay() -> None:
        while not routed(lab) and not ended.wait(1):
            pass

    with ThreadPoolExecutor(1) as pool:
        laid = pool.submit(lay)
        try:
            done = lab.apply(inventory=inventory)
        finally:
            ended.set()
    laid.result()
    return done


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_a_mode(lab: LabCluster, mode: Mode, tmp_path: Path) -> None:
    lab.bare()
    if mode.families == 2:
        lab.on("kube_control_plane:kube_node", SECOND_ADDRESS)
    inventory = chosen(lab, mode, tmp_path)
    done = brought_up(lab, mode, inventory)
    assert is_verified(done), done
    resolvers = lab.objects("-n kube-system pods -l k8s-app=kube-dns --field-selector status.phase=Running")
    assert {len(each["status"]["podIPs"]) for each in resolvers} == {mode.families}
    for host in NODES:
        lab.one(host, COUNTING.format(tunnel=mode.tunnel))
    verified = provision("verify", inventory, "--json")
    assert verified.status == 0, verified
    for host in NODES:
        tunnel, *plain = counted(lab, host)
        assert (tunnel == 0) is mode.plain, f"{host}: {tunnel} packets of the tunnel"
        wanted = [mode.plain, mode.plain and mode.families == 2]
        assert [count > 0 for count in plain] == wanted, f"{host}: {plain} packets of pods as they are"
        if mode.link:
            assert mode.link in lab.one(host, f"ip -o link show {mode.link}")
    if mode.plugin in ("calico", "canal"):
        told = lab.one("cp1", "/opt/kubernetes/bin/calicoctl get nodes")
        assert {line.split()[0] for line in told.splitlines()[1:]} == set(NODES), told
    if mode.typha:
        for host in NODES:
            assert lab.one(host, "ss -Htn state established dport = :5473"), f"{host} asks no Typha"
    again = lab.apply(inventory=inventory)
    assert (again.status, again.changed) == (0, set()), again


LACKING = [
    (
        flannel("wireguard", "{backend: wireguard}", "", ""),
        "back end wireguard needs wireguard, which the kernel",
    ),
    (flannel("ipip", "{backend: ipip}", "", ""), "back end ipip needs ipip, which the kernel"),
    (calico("WireGuard", "{wireguard: true}", "", ""), "WireGuard) needs wireguard, which the kernel"),
    (calico("IPIP", "{encapsulation: IPIP}", "", ""), "needs ipip, which the kernel"),
    (calico("IPIPCrossSubnet", "{encapsulation: IPIPCrossSubnet}", "", ""), "needs ipip, which the kernel"),
]


@pytest.mark.parametrize(("mode", "words"), LACKING, ids=[mode.name for mode, _ in LACKING])
def test_what_is_lacking_is_told_before_anything_changes(
    lab: LabCluster, mode: Mode, words: str, tmp_path: Path
) -> None:
    lab.bare()
    inventory = chosen(lab, mode, tmp_path)
    done = lab.apply(inventory=inventory)
    assert done.status == 1, done
    assert words in done.stdout + done.stderr
    if "kernel" in words:
        assert all(f"{host}: " in done.stdout + done.stderr for host in NODES)
    assert not done.changed
    rendered = provision("render", inventory)
    assert rendered.status == 0, rendered


POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-friends, namespace: guarded}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {friend: "yes"}}}]}]
"""


def test_policies_are_enforced_under_calico(lab: LabCluster, tmp_path: Path) -> None:
    """On the cluster that the last mode left, or one of its own."""
    mode = MODES[-1]
    done = brought_up(lab, mode, chosen(lab, mode, tmp_path))
    assert is_verified(done), done
    lab.kubectl("create namespace guarded")
    agnhost = lab.agnhost()
    lab.kubectl(f"-n guarded run server --image={agnhost} --port=8080 -- netexec --http-port=8080")
    for name, labels in (("friend", "friend=yes"), ("stranger", "friend=no")):
        lab.kubectl(f"-n guarded run {name} --image={agnhost} --labels={labels} -- pause")
    lab.kubectl("-n guarded wait --for=condition=Ready pod --all --timeout=60s")
    address = lab.kubectl("-n guarded get pod server -o jsonpath='{.status.podIP}'")

    def asked(name: str) -> str:
        """What the pod says of its connection; nothing where there is one. By SPDY: websockets make noise."""
        ask = f"exec {name} -- /agnhost connect {address}:8080 --timeout=2s 2>&1 || :"
        return lab.one("cp1", f"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false {ADMIN} -n guarded {ask}")

    assert [asked(name) for name in ("friend", "stranger")] == ["", ""]
    lab.one("cp1", f"cat <<'END' | {ADMIN} apply -f -\n{POLICY}\nEND")
    until(lambda: "TIMEOUT" in asked("stranger"), "the policy is enforced")
    assert asked("friend") == ""
    lab.kubectl("delete namespace guarded --wait=false")


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """worker2 behind a router."""
    cuts = {"subnet: 10.98.0.0/24": "subnet: 10.98.0.0/24\n      segment: 25", "10.98.0.22": "10.98.0.140"}
    source = edited(DEFAULT_LAB, tmp_path_factory.mktemp("segmented"), cuts)
    net = APART.partition("/")[0].replace(".", "-")
    with own_lab(f"segments-{net}", source, APART) as lab:
        yield lab


BETWEEN = [
    flannel("DirectRouting", "{backend: vxlan, direct_routing: true}", "udp dport 8472", "flannel.1"),
    calico("VXLANCrossSubnet", "{encapsulation: VXLANCrossSubnet}", "udp dport 4789", "vxlan.calico"),
]


@pytest.mark.parametrize("mode", BETWEEN, ids=lambda mode: mode.name)
def test_only_what_crosses_the_router_is_encapsulated(
    segmented: LabCluster, mode: Mode, tmp_path: Path
) -> None:
    segmented.bare()
    inventory = chosen(segmented, mode, tmp_path)
    done = segmented.apply(inventory=inventory)
    assert is_verified(done), done
    net = APART.rpartition(".")[0]
    seen = {}
    for sender, number in (("worker2", 140), ("cp1", 11)):
        segmented.one("worker1", COUNTING.format(tunnel=f"ip saddr {net}.{number} {mode.tunnel}"))
        assert provision("verify", inventory).status == 0
        seen[sender] = counted(segmented, "worker1")[0]
    assert seen["worker2"] > 0, "through the router in the tunnel"
    assert seen["cp1"] == 0, "on the link as it is"


def test_host_gw_does_not_cross_a_router(segmented: LabCluster, tmp_path: Path) -> None:
    mode = flannel("host-gw", "{backend: host-gw}", "", "")
    done = segmented.apply(inventory=chosen(segmented, mode, tmp_path))
    assert done.status == 1, done
    assert (
        "worker1: flannel's back end host-gw needs all nodes in one subnet, and worker2"
        in done.stdout + done.stderr
    )
    assert not done.changed


WAY = [(), ("cp1", "worker1"), ("worker1", "worker2"), ()]
"""Route reflectors of one running cluster, one after the other; without any the mesh."""
GAP_SECONDS = 20.0
"""The longest for which a pod may not hear of another. A node that begins or ends to reflect has new sessions with all
others, and BIRD waits 2 s before each and 5 s after one that failed (confd, bird.cfg.template)."""
ASKING = """
for a in {targets}; do
  (while :; do
    read -r t rest </proc/uptime
    if nc -w 1 "$a" 8080 </dev/null >/dev/null 2>&1; then echo "$t $a ok"; else echo "$t $a lost"; fi
    sleep 0.2
  done) &
done
wait
"""
"""Of a pod, without end: when it asked whom, and whether it was answered."""
SESSIONS = f"""
export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false
pods='-n kube-system get pods -l k8s-app=calico-node'
{ADMIN} $pods -o jsonpath='{{range .items[*]}}{{.metadata.name}} {{.spec.nodeName}}{{"\\n"}}{{end}}' |
  while read -r pod node; do
    {ADMIN} -n kube-system exec "$pod" -c calico-node -- birdcl -s /var/run/calico/bird.ctl show protocols </dev/null |
      sed -n "s/.* BGP .*/$node &/p"
  done
"""


def sessions(lab: LabCluster) -> dict[tuple[str, str], tuple[str, str]]:
    """What each node's session with each other one is, and what it is at."""
    names = {lab.address(node).replace(".", "_"): node for node in NODES}
    found = {}
    for line in lab.one("cp1", SESSIONS).splitlines():
        node, session, *_, state = line.split()
        kind, _, address = session.partition("_")
        found[node, names[address]] = (kind, state)
    return found


def pod_on(lab: LabCluster, node: str, name: str, image: str, command: list[str]) -> None:
    container = {"name": "it", "image": image, "command": command}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "talk"},
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }
    lab.one("cp1", f"cat <<'END' | {ADMIN} apply -f -\n{json.dumps(pod)}\nEND")


def talking(lab: LabCluster) -> dict[str, str]:
    """A pod on each node that answers, and one that asks those of the others; the nodes by the addresses of the
    first."""
    lab.kubectl("create namespace talk")
    image = lab.agnhost()
    for node in NODES:
        pod_on(lab, node, f"server-{node}", image, ["/agnhost", "netexec", "--http-port=8080"])
    lab.kubectl("-n talk wait --for=condition=Ready pod --all --timeout=60s")
    found = {pod["status"]["podIP"]: pod["spec"]["nodeName"] for pod in lab.objects("pods -n talk")}
    for node in NODES:
        targets = " ".join(address for address, where in found.items() if where != node)
        pod_on(lab, node, f"client-{node}", image, ["/bin/sh", "-c", ASKING.format(targets=targets)])
    lab.kubectl("-n talk wait --for=condition=Ready pod --all --timeout=60s")
    return found


@dataclass(frozen=True)
class Heard:
    """Of one pod asking another: how often it got no answer, the longest time without one in seconds, and whether the
    last times were answered."""

    lost: int
    gap: float
    well: bool


def heard(lab: LabCluster, servers: dict[str, str]) -> dict[tuple[str, str], Heard]:
    """By the nodes of who asked and who was asked, since the clients began."""
    found = {}
    for node in NODES:
        rows = [line.split() for line in lab.kubectl(f"-n talk logs client-{node}").splitlines()]
        for address, other in servers.items():
            mine = [(float(at), said) for at, whom, said in rows if whom == address]
            if other == node:
                continue
            ok = [at for at, said in mine if said == "ok"]
            assert len(ok) > 1, f"{node} never heard of {other}"
            gap = max(later - sooner for sooner, later in pairwise(ok))
            lost = sum(said == "lost" for _, said in mine)
            found[node, other] = Heard(lost, gap, all(said == "ok" for _, said in mine[-3:]))
    return found


def test_route_reflectors_change_on_a_running_cluster(
    lab: LabCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To some, among them, and back to the mesh: every node is told of the others by those that are named then, pods
    hear of each other again, and packets between nodes are as they were sent. What was lost meanwhile is counted."""
    lab.bare()
    servers: dict[str, str] = {}
    before: dict[tuple[str, str], Heard] = {}
    for reflectors in WAY:
        bgp = f", bgp: {{route_reflectors: [{', '.join(reflectors)}]}}" if reflectors else ""
        inventory = chosen(lab, calico("", f"{{encapsulation: None{bgp}}}", "", ""), tmp_path)
        done = lab.apply("--yes", inventory=inventory)  # in the end an object of BGP is deleted
        assert is_verified(done), done
        # The mesh's sessions are between those that reflect nothing; with reflectors there are none.
        wanted = {
            (one, other): ("Node" if {one, other} & set(reflectors) else "Mesh", "Established")
            for one in NODES
            for other in NODES
            if one != other and (not reflectors or {one, other} & set(reflectors))
        }
        assert sessions(lab) == wanted
        mesh = lab.kubectl(
            "get bgpconfigurations.crd.projectcalico.org default -o jsonpath='{.spec.nodeToNodeMeshEnabled}'"
        )
        assert (mesh != "false") is (not reflectors)
        servers = servers or talking(lab)
        for host in NODES:
            lab.one(host, COUNTING.format(tunnel="udp dport 4789"))
        again = lab.apply(inventory=inventory)
        assert (again.status, again.changed) == (0, set()), again
        assert all(counted(lab, host)[1] > 0 for host in NODES), "other nodes' pods, by their addresses"
        now = heard(lab, servers)
        with capsys.disabled():
            for (one, other), each in now.items():
                lost = each.lost - before[one, other].lost if before else 0
                sys.stdout.write(f"{reflectors}: {one} to {other}: {lost} lost, gap {each.gap:.1f} s\n")
        assert all(each.well for each in now.values()), now
        assert max(each.gap for each in now.values()) < GAP_SECONDS, now
        before = now
    lab.kubectl("delete namespace talk --wait=false")
