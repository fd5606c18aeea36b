"""A node is rid of a plug-in to the last thing, and nothing of others is touched: in namespaces, with real rules."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftthings import ALIVE, CALICO, CILIUM, ENDED, FLANNEL, OTHERS, SEEN
from nodespace import Node, node

from provisioner.kube.remains import (
    Remain,
    anything,
    backend_remains_script,
    backup_script,
    clean_backend_script,
    clean_script,
    clean_vni_script,
    everything,
    parse_remains,
    remains_script,
    vni_remains_script,
)

THINGS = {"flannel": FLANNEL, "calico": CALICO, "cilium": CILIUM}
PROXY = """
ip link add kube-ipvs0 type bridge
ipset create KUBE-CLUSTER-IP hash:ip,port
nft add table ip kube-proxy
"""
OWN_BIRD = """
ip route add default via 10.0.0.9 proto bird
ip -6 route add default via fd00:0::9 proto bird
"""
OWN_TUNNEL = """
ip addr add 172.16.0.1/24 dev tunl0
ip link set tunl0 up
ip route add 172.17.0.0/24 via 172.16.0.9 dev tunl0 proto bird
mkdir -p /var/lib/calico
"""
CIDRS = ["10.244.0.0/16", "10.245.0.0/16", "fd00:244::/32", "fd00:245::/32"]
NETS = {
    "flannel": ["10.244.1.0/24", "10.244.2.0/24", "fd00:244:2::/64"],
    "calico": ["10.245.0.0/16", "fd00:245::/32"],
    "cilium": [],
}
EVERYWHERE = {"link", "filter rule", "chain", "file"}
KINDS = {
    "flannel": EVERYWHERE | {"route", "table", "lease"},
    "calico": EVERYWHERE | {"route", "table", "lease", "mount", "rule", "address", "set"},
    "cilium": EVERYWHERE | {"mount", "rule", "routing", "set"},
}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path) as one:
        yield one


def there(here: Node, plugin: str, keep: list[str], shell: str = "dash") -> list[Remain]:
    script = remains_script(plugin, keep=keep, pod_cidrs=NETS[plugin])
    return [each for each in parse_remains(here.run(script.main, shell=shell)) if not each.left]


def clean(here: Node, plugin: str, keep: list[str], shell: str = "dash") -> None:
    script = clean_script(plugin, keep=keep, pod_cidrs=NETS[plugin])
    assert here.run(script.main, shell=shell) == ""


PAIRS = [("flannel", "calico"), ("calico", "flannel"), ("cilium", "calico"), ("flannel", "cilium")]


@pytest.mark.parametrize(
    ("plugin", "other", "shell"),
    [
        # Every run of the tests tries each pair in one shell, and each shell.
        pytest.param(*pair, shell, marks=() if index % 2 == turn else pytest.mark.soak)
        for index, pair in enumerate(PAIRS)
        for turn, shell in enumerate(("dash", "busybox"))
    ],
)
def test_all_of_a_plugin_goes_and_nothing_else(here: Node, shell: str, plugin: str, other: str) -> None:
    here.run(OTHERS)
    here.run(THINGS[other])
    before = here.run(SEEN)
    assert there(here, plugin, [other], shell) == []
    here.run(THINGS[plugin])
    full = here.run(SEEN)
    seen = there(here, plugin, [other], shell)
    assert {each.kind for each in seen} == KINDS[plugin]
    assert here.run(SEEN) == full
    clean(here, plugin, [other], shell)
    assert here.run(SEEN) == before
    assert there(here, plugin, [other], shell) == []
    clean(here, plugin, [other], shell)
    assert here.run(SEEN) == before


def test_it_goes_on_where_it_was_killed(here: Node) -> None:
    here.run(OTHERS)
    here.run(FLANNEL)
    before = here.run(SEEN)
    here.run(CALICO)
    script = clean_script("calico", keep=["flannel"], pod_cidrs=NETS["calico"]).main
    here.write("/clean", script)
    for seconds in (0.1, 0.3, 0.5, 0.7):
        here.run(f"setsid sh /clean & sleep {seconds}; kill -KILL -$! 2>/dev/null || :; wait")
        assert seconds > 0.1 or there(here, "calico", ["flannel"]) != []
    clean(here, "calico", ["flannel"])
    assert here.run(SEEN) == before


LIVING = f"""
ip netns add cni-alive
ip link add caliaaaaaaaaaaa type veth peer name eth0 netns cni-alive
ip link add vethalive type veth peer name eth1 netns cni-alive
ip link set vethalive master cni0
printf '{ALIVE}\\r\\neth0' >/var/lib/cni/networks/cbr0/10.244.0.3
echo '{{}}' >/var/lib/cni/flannel/{ALIVE}
for t in iptables-legacy iptables-nft; do
  $t -w -t nat -N CNI-DN-0a11fe
  $t -w -t nat -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment 'dnat name: "cbr0" id: "{ALIVE}"' \\
    -m multiport --destination-ports 9093 -j CNI-DN-0a11fe
done
ip netns exec cni-alive sleep 600 </dev/null >/dev/null 2>&1 &
"""
HELD = {
    "flannel": {
        ("link", "cni0", "links of pods are on it: vethalive"),
        ("lease", "/var/lib/cni/networks/cbr0/10.244.0.3", f"container {ALIVE[:12]} runs"),
        ("lease", "/var/lib/cni/networks/cbr0", ""),
        ("file", f"/var/lib/cni/flannel/{ALIVE}", f"container {ALIVE[:12]} runs"),
        ("file", "/var/lib/cni/flannel", ""),
        ("chain", "iptables-legacy nat CNI-DN-0a11fe", f"container {ALIVE[:12]} runs"),
        ("chain", "iptables-nft nat CNI-DN-0a11fe", f"container {ALIVE[:12]} runs"),
    },
    "calico": {("link", "caliaaaaaaaaaaa", "a pod that runs is behind it")},
}
ENDS = f"""
kill $(ip netns pids cni-alive)
ip link delete vethalive
rmdir /run/containerd/io.containerd.runtime.v2.task/k8s.io/{ALIVE}
"""


def test_what_pods_live_on_stays_until_they_have_ended(here: Node) -> None:
    for script in (OTHERS, FLANNEL, CALICO, LIVING):
        here.run(script)
    for plugin, other in (("flannel", "calico"), ("calico", "flannel")):
        clean(here, plugin, [other])
        assert {(each.kind, each.name, each.reason) for each in there(here, plugin, [other])} == HELD[plugin]
    here.run(ENDS)
    for plugin, other in (("flannel", "calico"), ("calico", "flannel")):
        clean(here, plugin, [other])
        assert there(here, plugin, [other]) == []


def test_what_is_left_on_purpose_is_told_with_its_reason(here: Node) -> None:
    here.run(OTHERS)
    here.run(CALICO)
    clean(here, "calico", ["flannel"])
    told = parse_remains(here.run(remains_script("calico", keep=["flannel"], pod_cidrs=NETS["calico"]).main))
    assert {each.name for each in told if each.left and each.reason} == {
        "tunl0",
        "net.ipv4.conf.default.rp_filter = 1",
        "/etc/NetworkManager/conf.d/calico.conf",
        *(f"/opt/cni/bin/{each}" for each in ("host-local", "loopback", "portmap", "tuning", "bandwidth")),
        *(
            f"{family}-{kind} nat CNI-HOSTPORT-*"
            for family in ("iptables", "ip6tables")
            for kind in ("legacy", "nft")
        ),
    }
    assert len(told) == 12


def without(*names: str) -> str:
    """Sets a PATH by which all programs are found but these."""
    return f"""
mkdir -p /few
for f in /usr/sbin/* /usr/bin/* /sbin/* /bin/*; do
  case ${{f##*/}} in {" | ".join(names)}) rm -f "/few/${{f##*/}}" ;; *) ln -sf "$f" /few/ ;; esac
done
PATH=/few
"""


@pytest.mark.parametrize(
    ("names", "untold"),
    [
        ((), set()),
        (("iptables*", "ip6tables*"), {"ip nat", "ip6 nat", "iptables-legacy", "ip6tables-legacy"}),
        (("iptables-legacy",), {"iptables-legacy"}),
    ],
    ids=["all programs", "no iptables", "no older one"],
)
def test_tables_whose_program_is_not_here_are_told(
    here: Node, names: tuple[str, ...], untold: set[str]
) -> None:
    here.run(OTHERS)
    here.run(CALICO)
    script = remains_script("calico", keep=["flannel"], pod_cidrs=NETS["calico"]).main
    told = parse_remains(here.run((without(*names) if names else "") + script))
    missed = {each.name for each in told if each.left and "not here to look with" in each.reason}
    assert untold <= missed
    assert bool(untold) == bool(missed)


def test_the_last_ports_take_their_chains_with_them(here: Node) -> None:
    here.run(OTHERS)
    here.run(FLANNEL)
    clean(here, "flannel", [])
    assert "CNI-HOSTPORT-DNAT" in here.run(SEEN)
    podman = f"""-p tcp -m comment --comment 'dnat name: "podman" id: "{ENDED}"' -m multiport --dports 9090"""
    for tool in ("iptables-legacy", "iptables-nft", "ip6tables-legacy", "ip6tables-nft"):
        here.run(f"{tool} -w -t nat -D CNI-HOSTPORT-DNAT {podman} -j CNI-DN-0123456789abcdef")
    assert {each.kind for each in there(here, "flannel", [])} == {"chain", "filter rule"}
    clean(here, "flannel", [])
    assert "CNI-" not in here.run(SEEN)


@pytest.mark.parametrize(
    ("plugin", "backend", "gone"),
    [
        (
            "flannel",
            "vxlan",
            [
                "10.244.0.0/32 scope global flannel.1",
                "10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink",
                "link flannel-v6.1: <BROADCAST,MULTICAST>",
                "link flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP>",
            ],
        ),
        (
            "flannel",
            "host-gw",
            [
                "10.244.2.0/24 via 10.0.0.2 dev eth0",
                "fd00:244:2::/64 via fd00::2 dev eth0 metric 1024 pref medium",
            ],
        ),
        (
            "calico",
            "vxlan",
            [
                "10.245.4.0/26 dev vxlan.calico proto 80 scope link",
                "blackhole 10.245.9.0/26 proto 80",
                "blackhole fd00:245:2::/122 dev lo proto 80 metric 1024 pref medium",
                "link vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP>",
            ],
        ),
        (
            "calico",
            "bgp",
            [
                "10.245.1.0/26 via 10.0.0.2 dev eth0 proto bird",
                "10.245.2.0/26 proto bird",
                "10.245.7.0/26 via 10.0.0.8 dev tunl0 proto bird onlink",
                "blackhole 10.245.0.0/26 proto bird",
                "blackhole fd00:245::/122 dev lo proto bird metric 1024 pref medium",
                "fd00:245:1::/122 via fd00::2 dev eth0 proto bird metric 1024 pref medium",
            ],
        ),
        (
            "calico",
            "ipip",
            [
                "10.245.0.1/32 scope global tunl0",
                "10.245.7.0/26 via 10.0.0.8 dev tunl0 proto bird onlink",
                "link tunl0: <BROADCAST,MULTICAST,UP,LOWER_UP>",
            ],
        ),
    ],
)
def test_only_what_one_way_of_carrying_needs_goes(
    here: Node, plugin: str, backend: str, gone: list[str]
) -> None:
    here.run(OTHERS)
    here.run(THINGS[plugin])
    full = here.run(SEEN).splitlines()
    look = backend_remains_script(plugin, backend, pod_cidrs=NETS[plugin]).main
    assert [each for each in parse_remains(here.run(look)) if not each.left] != []
    here.run(clean_backend_script(plugin, backend, pod_cidrs=NETS[plugin]).main)
    after = here.run(SEEN).splitlines()
    lost = [line for line in full if line not in after and not line.startswith(("local ", "multicast "))]
    assert sorted({_short(line) for line in lost}) == gone
    assert [each for each in parse_remains(here.run(look)) if not each.left] == []


def test_only_the_link_of_the_former_vni_goes(here: Node) -> None:
    here.run(OTHERS)
    here.run(f"{THINGS['flannel']}ip link add flannel.17 type vxlan id 17 dev eth0 dstport 8472 nolearning\n")
    links = "ip -o link show | cut -d: -f2"
    before = here.run(links).split()
    assert {"flannel.1", "flannel.17"} <= {*before}
    look = vni_remains_script(1).main
    gone = {"flannel.1", "flannel-v6.1"}
    assert {each.name for each in parse_remains(here.run(look))} == gone
    here.run(clean_vni_script(1).main)
    assert here.run(links).split() == [each for each in before if each not in gone]
    assert parse_remains(here.run(look)) == ()


def _short(line: str) -> str:
    line = line.split("\\")[0].replace(" inet ", " ").strip()
    if "scope global" in line:
        link, address, *_ = line.split()
        return f"{address} scope global {link}"
    return " ".join(line.split())


def test_a_host_without_pods_is_rid_of_all_of_them(here: Node) -> None:
    """kube-proxy's rules go with them, all routes within flannel's network by other hosts, and BIRD's to pods; what
    bears the pod's own name is the runtime's. BIRD's other routes are the host's own."""
    here.run(OTHERS)
    here.run(OWN_BIRD)
    before = _but(here, "KUBE-", "10.244.77.0")
    for script in (*THINGS.values(), LIVING):
        here.run(script)
    here.run(PROXY)
    assert {(each.kind, each.name) for each in parse_remains(here.run(anything(CIDRS)))} >= {
        ("link", "cni0"),
        ("link", "kube-ipvs0"),
        ("set", "KUBE-CLUSTER-IP"),
        ("table", "ip kube-proxy"),
    }
    here.run(everything(CIDRS))
    assert _but(here, "KUBE-", "alive") == before
    assert [each for each in parse_remains(here.run(anything(CIDRS))) if not each.left] == []


def test_a_host_without_calico_keeps_the_routes_of_its_own_bird(here: Node) -> None:
    for script in (OTHERS, FLANNEL, everything(CIDRS)):
        here.run(script)
    assert "192.0.2.0/24 via 10.0.0.9 dev eth0 proto bird" in here.run(SEEN)


def test_a_tunnel_of_the_host_s_own_bird_stays_where_calico_has_run(here: Node) -> None:
    for script in (OTHERS, OWN_BIRD, OWN_TUNNEL):
        here.run(script)
    before = _but(here, "10.244.77.0", "/var/lib/calico", "KUBE-", "CNI-")
    here.run(everything(CIDRS))
    assert _but(here, "10.244.77.0", "/var/lib/calico", "KUBE-", "CNI-") == before


def _but(here: Node, *names: str) -> list[str]:
    lines = (line for line in here.run(SEEN).splitlines() if line.strip() not in ("", "}"))
    return [line for line in lines if not any(name in line for name in names)]


def test_the_look_costs_little_on_a_node_with_many_rules(here: Node) -> None:
    """kube-proxy's are thousands: no process is begun for each. CPU seconds, so that others' load does not count."""
    here.run(OTHERS)
    lines = ["*nat", *(f":KUBE-SVC-{i} - [0:0]" for i in range(2000))]
    lines += [f"-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp --dport {i + 1} -j KUBE-SVC-{i}" for i in range(2000)]
    here.write("/rules", "\n".join([*lines, "COMMIT", ""]))
    here.run("iptables-nft-restore -w --noflush </rules")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert there(here, "flannel", ["calico"]) == []
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_files_are_kept_before_they_go(here: Node) -> None:
    here.run(OTHERS)
    here.run(FLANNEL)
    conf = "/etc/cni/net.d/10-flannel.conflist"
    here.run(f"echo mine >{conf}")
    keep = backup_script("flannel", "/var/lib/kept", keep=["calico"])
    assert here.run(keep.main) == ""
    clean(here, "flannel", ["calico"])
    here.run(keep.main)  # done again, it does not lose what is gone
    assert here.run(f"cat /var/lib/kept{conf}; ls {conf} 2>/dev/null || :") == "mine\n"
    assert here.run("find /var/lib/kept -name '*.conflist' | wc -l") == "1\n"
