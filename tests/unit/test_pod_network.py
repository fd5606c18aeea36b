"""What the pod network's mode needs is judged from facts, before anything changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.action.podnetwork import check_pod_network
from provisioner.bundle.layout import Image
from provisioner.errors import ProvisionError
from provisioner.network.needs import needs_of
from provisioner.playbook.facts import Facts
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool
from provisioner.spec.cilium import Cilium
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
DUAL = ("10.244.0.0/16", "fd00:1::/56")
MODULES = ("vxlan", "wireguard", "ipip", "tun")


@pytest.fixture(scope="module")
def lab() -> ClusterSpec:
    return load_cluster(LAB)[1]


def facts(spec: ClusterSpec, modules: tuple[str, ...] = MODULES, kernel: str = "6.1.0") -> dict[str, Facts]:
    bare = Facts("amd64", kernel, "h", "debian", "12", 0.0, False, 1, {}, "eth0", modules=modules)
    return {
        name: replace(bare, addresses={"eth0": (f"{node.address}/24",)}) for name, node in spec.nodes.items()
    }


def of_both(spec: ClusterSpec, far: str = "", prefix: int = 64) -> dict[str, Facts]:
    """Facts of hosts with an address of each family; worker2's second one is `far`, where that is given."""
    return {
        name: replace(each, addresses={"eth0": (*each.addresses["eth0"], f"{second}/{prefix}")})
        for number, (name, each) in enumerate(facts(spec).items(), 0x10)
        for second in [far if far and name == "worker2" else f"fd00::{number:x}"]
    }


def with_flannel(spec: ClusterSpec, flannel: Flannel) -> ClusterSpec:
    return replace(spec, network=replace(spec.network, flannel=flannel))


@pytest.mark.parametrize("backend", ["vxlan", "host-gw", "wireguard", "ipip", "udp"])
def test_a_host_that_has_all_is_let_through(lab: ClusterSpec, backend: str) -> None:
    check_pod_network(with_flannel(lab, Flannel(backend)), facts(lab))


@pytest.mark.parametrize(
    ("backend", "module"), [("vxlan", "vxlan"), ("wireguard", "wireguard"), ("ipip", "ipip"), ("udp", "tun")]
)
def test_a_module_that_is_missing_is_named(lab: ClusterSpec, backend: str, module: str) -> None:
    left = tuple(each for each in MODULES if each != module)
    with pytest.raises(ProvisionError) as caught:
        check_pod_network(with_flannel(lab, Flannel(backend)), facts(lab, left))
    reason = f"cp1: flannel's back end {backend} needs {module}, which the kernel 6.1.0 has not"
    assert reason in caught.value.reason.splitlines()
    assert "registry1" not in caught.value.reason, "it is no node"


def test_an_old_kernel_and_another_architecture(lab: ClusterSpec) -> None:
    with pytest.raises(ProvisionError, match=r"cp1: .* needs Linux 5.6, this host runs 4.19.0"):
        check_pod_network(with_flannel(lab, Flannel("wireguard")), facts(lab, kernel="4.19.0"))
    arm = {name: replace(each, architecture="arm64") for name, each in facts(lab).items()}
    with pytest.raises(ProvisionError, match=r"cp1: .* is made for amd64, this host is arm64"):
        check_pod_network(with_flannel(lab, Flannel("udp")), arm)


def test_host_gw_wants_one_subnet(lab: ClusterSpec) -> None:
    far = replace(lab.nodes["worker2"], address="10.77.0.5")
    spec = with_flannel(replace(lab, nodes={**lab.nodes, "worker2": far}), Flannel("host-gw"))
    with pytest.raises(ProvisionError) as caught:
        check_pod_network(spec, facts(spec))
    first, *others = caught.value.reason.splitlines()
    assert first.startswith(
        "cp1: flannel's back end host-gw needs all nodes in one subnet, and worker2 (10.77.0.5)"
    )
    assert len(others) == 2, "worker1 sees it so as well, and worker2 the others"
    assert "direct_routing" in caught.value.hint
    check_pod_network(with_flannel(spec, Flannel(direct_routing=True)), facts(spec))


@pytest.mark.parametrize(
    ("prefix", "far", "refused"),
    [(64, "fd00::5", False), (64, "fd00:0:0:1::5", True), (128, "fd00:0:0:1::5", False)],
)
def test_host_gw_wants_one_subnet_of_each_family(
    lab: ClusterSpec, prefix: int, far: str, refused: bool
) -> None:
    """A single address of a link says nothing of its network, of which routers tell."""
    host_gw = replace(with_flannel(lab, Flannel("host-gw")).network, pod_cidrs=DUAL)
    spec = replace(lab, network=host_gw)
    known = of_both(spec, far, prefix)
    if refused:
        with pytest.raises(ProvisionError, match=r"cp1: .* one subnet, and worker2 \(fd00:0:0:1::5\)"):
            check_pod_network(spec, known)
    else:
        check_pod_network(spec, known)


def test_cilium_s_own_routes_want_one_subnet(lab: ClusterSpec) -> None:
    far = replace(lab.nodes["worker2"], address="10.77.0.5")
    nodes = {**lab.nodes, "worker2": far}
    modules = ("cls_bpf", "sch_ingress", "ip_set", "ip_set_hash_ip", "xt_set")

    def check(cilium: Cilium) -> None:
        spec = replace(lab, nodes=nodes, network=replace(lab.network, plugin="cilium", cilium=cilium))
        check_pod_network(spec, facts(spec, modules))

    with pytest.raises(
        ProvisionError, match=r"cp1: Cilium \(native\) needs all nodes in one subnet"
    ) as caught:
        check(Cilium("native"))
    assert "routing_mode: tunnel" in caught.value.hint
    check(Cilium("native", auto_direct_node_routes=False))
    with pytest.raises(
        ProvisionError, match=r"cp1: Cilium \(vxlan\) needs vxlan, which the kernel 6.1.0 has not"
    ):
        check(Cilium())


CALICO = [
    (Calico(pools=(IPPool("p", "10.244.0.0/16"),)), ("vxlan",), (4789,), (), ()),
    (Calico(pools=(IPPool("p", "10.244.0.0/16", "IPIP"),)), ("ipip",), (), (179,), ("ipip",)),
    (Calico(pools=(IPPool("p", "10.244.0.0/16", "None"),), typha=True), (), (), (179, 5473), ()),
    (
        Calico(pools=(IPPool("p", "10.244.0.0/16"),), wireguard=True),
        ("vxlan", "wireguard"),
        (4789, 51820),
        (),
        (),
    ),
    (
        Calico(
            pools=(IPPool("p", "10.244.0.0/16"),),
            wireguard=True,
            felix={"vxlanPort": 4790, "wireguardListeningPort": 51900},
            env={"FELIX_VXLANPORT": "4791"},
        ),
        ("vxlan", "wireguard"),
        (4791, 51900),
        (),
        (),
    ),
]


@pytest.mark.parametrize(("calico", "modules", "udp", "tcp", "protocols"), CALICO)
def test_what_calico_needs(
    lab: ClusterSpec,
    calico: Calico,
    modules: tuple[str, ...],
    udp: tuple[int, ...],
    tcp: tuple[int, ...],
    protocols: tuple[str, ...],
) -> None:
    needs = needs_of(replace(lab, network=replace(lab.network, plugin="calico", calico=calico)))
    assert (needs.modules, needs.udp, needs.tcp, needs.protocols) == (modules, udp, tcp, protocols)
    assert needs.adjacent == (() if modules else (4,))


PLAIN = [("VXLAN", "None", (6,)), ("None", "VXLAN", (4,)), ("IPIP", "None", (6,)), ("None", "None", (4, 6))]


@pytest.mark.parametrize(("four", "six", "versions"), PLAIN)
def test_one_subnet_is_wanted_of_the_families_whose_packets_go_plain(
    lab: ClusterSpec, four: str, six: str, versions: tuple[int, ...]
) -> None:
    pools = (IPPool("p4", DUAL[0], four), IPPool("p6", DUAL[1], six))
    network = replace(lab.network, plugin="calico", pod_cidrs=DUAL, calico=Calico(pools=pools))
    apart = {4: "10.77.0.5", 6: "fd00:0:0:1::5"}
    assert needs_of(replace(lab, network=network)).adjacent == versions
    for version, address in apart.items():
        nodes = dict(lab.nodes)
        if version == 4:
            nodes["worker2"] = replace(nodes["worker2"], address=address)
        spec = replace(lab, network=network, nodes=nodes)
        known = of_both(spec, address if version == 6 else "")
        if version in versions:
            with pytest.raises(ProvisionError) as caught:
                check_pod_network(spec, known)
            assert f"needs all nodes in one subnet, and worker2 ({address})" in caught.value.reason
        else:
            check_pod_network(spec, known)


ROUTER = BGPPeer("tor", address="10.98.0.1", as_number=64600)
ROUTERS: list[tuple[BGP, list[str]]] = [
    (BGP(peers=(replace(ROUTER, nodes="has(nothing)"),)), ["cp1", "worker1", "worker2"]),
    (BGP(peers=(replace(ROUTER, address="fd00::1"),)), ["cp1", "worker1", "worker2"]),
    (BGP(peers=(ROUTER,)), []),
    # Of its pods the router knows, and of the others' not.
    (BGP(peers=(replace(ROUTER, nodes="kubernetes.io/hostname == 'worker2'"),)), ["worker2"]),
    (
        BGP(peers=(replace(ROUTER, nodes="node-role.kubernetes.io/control-plane == ''"),)),
        ["cp1", "worker1", "worker2"],
    ),
    (BGP(peers=(replace(ROUTER, nodes="rack == 'b'"),)), ["cp1", "worker1", "worker2"]),
    (BGP(peers=(replace(ROUTER, nodes="example.com/rack == 'a'"),)), []),  # others may set that
    (
        BGP(route_reflectors=("worker1", "worker2"), peers=(replace(ROUTER, nodes="has(route-reflector)"),)),
        [],
    ),
    (
        BGP(route_reflectors=("worker1", "worker2"), peers=(replace(ROUTER, nodes="has(nothing)"),)),
        ["cp1", "worker1", "worker2"],
    ),
]


@pytest.mark.parametrize(("bgp", "complaining"), ROUTERS)
def test_one_subnet_is_wanted_of_nodes_whose_pods_no_router_is_told_of(
    lab: ClusterSpec, bgp: BGP, complaining: list[str]
) -> None:
    far = replace(lab.nodes["worker2"], address="10.77.0.5")
    near = replace(lab.nodes["worker1"], labels={"rack": "b"})
    nodes = {**lab.nodes, "worker1": near, "worker2": replace(far, labels={"rack": "a"})}
    calico = Calico(pools=(IPPool("p", "10.244.0.0/16", "None"),), bgp=bgp)
    spec = replace(lab, nodes=nodes, network=replace(lab.network, plugin="calico", calico=calico))
    try:
        check_pod_network(spec, facts(spec))
        said = ""
    except ProvisionError as refused:
        said = refused.reason
    assert [line.partition(":")[0] for line in said.splitlines()] == complaining


def test_own_routes_want_one_subnet_of_each_family_of_pods(lab: ClusterSpec) -> None:
    host_gw = replace(lab.network, flannel=Flannel("host-gw"))
    native = replace(lab.network, plugin="cilium", cilium=Cilium("native"))
    for network in (host_gw, native):
        for cidrs, versions in ((DUAL, (4, 6)), (DUAL[:1], (4,))):
            spec = replace(lab, network=replace(network, pod_cidrs=cidrs))
            assert needs_of(spec).adjacent == versions


def test_what_to_do_goes_with_what_is_missing(lab: ClusterSpec) -> None:
    """A mode may need a module for one family, and one subnet for the other."""
    pools = (IPPool("p4", DUAL[0], "VXLAN"), IPPool("p6", DUAL[1], "None"))
    spec = replace(
        lab, network=replace(lab.network, plugin="calico", pod_cidrs=DUAL, calico=Calico(pools=pools))
    )
    bare = {name: replace(each, modules=()) for name, each in of_both(spec).items()}
    with pytest.raises(ProvisionError, match="needs vxlan") as caught:
        check_pod_network(spec, bare)
    assert caught.value.hint.startswith("install the kernel's extra modules")
    assert "VXLANCrossSubnet" not in caught.value.hint
    far = of_both(spec, "fd00:0:0:1::5")
    with pytest.raises(ProvisionError, match="one subnet") as caught:
        check_pod_network(spec, far)
    assert caught.value.hint.startswith("use VXLANCrossSubnet")
    with pytest.raises(ProvisionError) as caught:
        check_pod_network(spec, {name: replace(each, modules=()) for name, each in far.items()})
    assert "extra modules" in caught.value.hint
    assert "VXLANCrossSubnet" in caught.value.hint


def test_an_image_without_tunnels_is_refused(lab: ClusterSpec) -> None:
    def image(source: str) -> list[Image]:
        return [Image("docker.io/calico/node", "v3", "sha256:0", b"", "", (), source=source)]

    calico = Calico(pools=(IPPool("p", "10.244.0.0/16", "IPIPCrossSubnet"),))
    spec = replace(lab, network=replace(lab.network, plugin="calico", calico=calico))
    with pytest.raises(ProvisionError, match=r"docker\.io/calico/node:v3 cannot do IPIP"):
        check_pod_network(spec, facts(lab), image("module"))
    check_pod_network(spec, facts(lab), image("release"))
    bare = {name: replace(each, modules=()) for name, each in facts(lab).items()}
    with pytest.raises(ProvisionError) as caught:
        check_pod_network(spec, bare, image("module"))
    assert "cannot do IPIP" in caught.value.reason
    assert "needs ipip, which the kernel" in caught.value.reason
    assert "publisher's image" in caught.value.hint
    assert "kernel's extra modules" in caught.value.hint


def test_ports_of_wireguard_by_family(lab: ClusterSpec) -> None:
    both = replace(lab.network, pod_cidrs=("10.244.0.0/16", "fd00:244::/56"), flannel=Flannel("wireguard"))
    assert needs_of(replace(lab, network=both)).udp == (51820, 51821)
    one = replace(both, flannel=Flannel("wireguard", mode="auto", port=600))
    assert needs_of(replace(lab, network=one)).udp == (600,)
    assert needs_of(with_flannel(lab, Flannel("wireguard"))).udp == (51820,)
