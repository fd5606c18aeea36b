"""Calico's manifests are patched by what they contain, for each mode."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import ProvisionError
from provisioner.kube.components import components
from provisioner.kube.objects import object_key
from provisioner.network import calico, calicoagent
from provisioner.network.needs import needs_of
from provisioner.network.patches import images_of, parse_manifest
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool, typha_replicas
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
UPSTREAM = os.environ.get("PROVISION_UPSTREAM")
VERSIONS = sorted(Path(UPSTREAM).glob("calico-v*")) if UPSTREAM else []
pytestmark = pytest.mark.upstream
POOL = IPPool("pods", "10.244.0.0/16")


def private(reference: str) -> str:
    return f"registry.lab.internal:5000/{reference.partition('/')[2]}@sha256:0"


def cluster(options: Calico, cidrs: tuple[str, ...] = ("10.244.0.0/16",)) -> ClusterSpec:
    spec = load_cluster(LAB)[1]
    return replace(spec, network=replace(spec.network, plugin="calico", calico=options, pod_cidrs=cidrs))


def made(folder: Path, spec: ClusterSpec) -> dict[str, dict[str, Any]]:
    source = calico.artifact_of(spec)
    upstream = parse_manifest((folder / f"{source}.yaml").read_text(), source)
    return {object_key(each): each for each in calico.objects(spec, upstream, private)}


def env(objects: dict[str, dict[str, Any]]) -> dict[str, str]:
    container = objects[calicoagent.DAEMONS]["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


MODES = {
    "VXLAN": ("vxlan", "Never", "Always"),
    "VXLANCrossSubnet": ("vxlan", "Never", "CrossSubnet"),
    "IPIP": ("bird", "Always", "Never"),
    "IPIPCrossSubnet": ("bird", "CrossSubnet", "Never"),
    "None": ("bird", "Never", "Never"),
}


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
@pytest.mark.parametrize("encapsulation", MODES)
def test_each_mode(folder: Path, encapsulation: str) -> None:
    backend, ipip, vxlan = MODES[encapsulation]
    objects = made(folder, cluster(Calico(pools=(replace(POOL, encapsulation=encapsulation),))))
    assert objects[calicoagent.CONFIG]["data"]["calico_backend"] == backend
    pool = objects["IPPool pods"]["spec"]
    assert (pool["ipipMode"], pool["vxlanMode"]) == (ipip, vxlan)
    variables = env(objects)
    assert variables["NO_DEFAULT_POOLS"] == "true"
    assert variables["IP_AUTODETECTION_METHOD"] == "kubernetes-internal-ip"
    assert variables["CALICO_IPV4POOL_IPIP"] == "Never"
    assert "CALICO_IPV4POOL_CIDR" not in variables, "Calico refuses it beside NO_DEFAULT_POOLS"
    pod = objects[calicoagent.DAEMONS]["spec"]["template"]["spec"]
    (installer,) = [each for each in pod["initContainers"] if each["name"] == "install-cni"]
    skipped = {each["name"]: each.get("value") for each in installer["env"]}["SKIP_CNI_BINARIES"]
    assert skipped == "bandwidth,flannel,host-local,loopback,portmap,tuning"
    container = objects[calicoagent.DAEMONS]["spec"]["template"]["spec"]["containers"][0]
    asked = container["livenessProbe"]["exec"]["command"] + container["readinessProbe"]["exec"]["command"]
    assert ({"-bird-live", "-bird-ready"} <= set(asked)) is (backend == "bird")
    assert {"-felix-live", "-felix-ready"} <= set(asked)


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_images_are_private_and_pools_come_before_agents(folder: Path) -> None:
    objects = made(folder, cluster(Calico(pools=(POOL,), typha=True)))
    assert all(each.startswith("registry.lab.internal:5000/") for each in images_of(objects.values()))
    keys = list(objects)
    assert keys.index("IPPool pods") < keys.index(calicoagent.DAEMONS)
    assert keys.index("IPPool pods") > keys.index("CustomResourceDefinition ippools.crd.projectcalico.org")


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_two_families(folder: Path) -> None:
    six = IPPool("pods6", "fd00:244::/56", block_size=122, nat_outgoing=False)
    objects = made(folder, cluster(Calico(pools=(POOL, six)), ("10.244.0.0/16", "fd00:244::/56")))
    variables = env(objects)
    assert (variables["IP"], variables["IP6"], variables["FELIX_IPV6SUPPORT"]) == (
        "autodetect",
        "autodetect",
        "true",
    )
    assert variables["IP6_AUTODETECTION_METHOD"] == "kubernetes-internal-ip"
    assert objects["IPPool pods6"]["spec"]["natOutgoing"] is False
    assert env(made(folder, cluster(Calico(pools=(POOL,)))))["IP6"] == "none"


SIX = IPPool("pods6", "fd00:244::/56", block_size=122, nat_outgoing=False)
ASKED = {
    "10.244.0.0/16": {"type": "calico-ipam"},
    "10.244.0.0/16 fd00:244::/56": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"},
    "fd00:244::/56": {"type": "calico-ipam", "assign_ipv4": "false", "assign_ipv6": "true"},
}


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
@pytest.mark.parametrize("cidrs", ASKED)
def test_pods_ask_for_an_address_of_each_family(folder: Path, cidrs: str) -> None:
    """The CNI plug-in asks for IPv6 only where it is told to, and for IPv4 unless it is told not to."""
    pools = tuple(each for each in (POOL, SIX) if each.cidr in cidrs.split())
    objects = made(folder, cluster(Calico(pools=pools), tuple(cidrs.split())))
    written = objects[calicoagent.CONFIG]["data"]["cni_network_config"]
    # What the installer does with it: the MTU is a number, all other place holders are in quotes.
    conf = json.loads(written.replace("__CNI_MTU__", "1450"))
    assert conf["plugins"][0]["ipam"] == ASKED[cidrs]
    assert conf["plugins"][0]["mtu"] == 1450
    assert [each["type"] for each in conf["plugins"]] == ["calico", "portmap", "bandwidth"]
    assert "__KUBECONFIG_FILEPATH__" in written


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_a_further_family_rolls_the_agents(folder: Path) -> None:
    """Each writes its node's CNI configuration when it starts."""

    def digest(*cidrs: str) -> str:
        pools = tuple(each for each in (POOL, SIX) if each.cidr in cidrs)
        daemons = made(folder, cluster(Calico(pools=pools), cidrs))[calicoagent.DAEMONS]
        return str(daemons["spec"]["template"]["metadata"]["annotations"]["provision.dev/config"])

    assert len({digest(*each.split()) for each in ASKED}) == 3


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_typha_follows_the_nodes(folder: Path) -> None:
    objects = made(folder, cluster(Calico(pools=(POOL,), typha=True)))
    assert objects[calicoagent.TYPHA]["spec"]["replicas"] == 2, "for three nodes"
    assert objects[calicoagent.CONFIG]["data"]["typha_service_name"] == "calico-typha"
    assert calicoagent.TYPHA not in made(folder, cluster(Calico(pools=(POOL,))))


@pytest.mark.parametrize(
    ("nodes", "replicas"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (200, 3), (400, 4), (600, 5)]
)
def test_replicas_of_typha(nodes: int, replicas: int) -> None:
    assert typha_replicas(nodes) == replicas


AGENTS = {"logSeverityScreen": "Info", "reportingInterval": "0s"}
"""What calico-node would set by itself, and take the object's labels away with that."""


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_felix_knows_its_fields(folder: Path) -> None:
    felix = {"logSeverityScreen": "Warning"}
    objects = made(folder, cluster(Calico(pools=(POOL,), felix=felix, wireguard=True)))
    assert objects["FelixConfiguration default"]["spec"] == {**AGENTS, **felix, "wireguardEnabled": True}
    with pytest.raises(ProvisionError, match="has no field 'logSeverityScren'") as caught:
        made(folder, cluster(Calico(pools=(POOL,), felix={"logSeverityScren": "Warning"})))
    assert caught.value.hint == "did you mean 'logSeverityScreen'?"


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_wireguard_is_of_each_family(folder: Path) -> None:
    six = IPPool("pods6", "fd00:244::/56", block_size=122, nat_outgoing=False)
    objects = made(
        folder, cluster(Calico(pools=(POOL, six), wireguard=True), ("10.244.0.0/16", "fd00:244::/56"))
    )
    both = {**AGENTS, "wireguardEnabled": True, "wireguardEnabledV6": True}
    assert objects["FelixConfiguration default"]["spec"] == both


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_no_variable_beats_what_felix_is_told(folder: Path) -> None:
    """The manifest has ACCEPT in a variable, and Felix reads those first."""
    name = "FELIX_DEFAULTENDPOINTTOHOSTACTION"
    plain = env(made(folder, cluster(Calico(pools=(POOL,)))))
    assert plain[name] == "ACCEPT"
    felix = {"defaultEndpointToHostAction": "Drop"}
    told = env(
        made(folder, cluster(Calico(pools=(POOL,), felix=felix, env={"BGP_LOGSEVERITYSCREEN": "debug"})))
    )
    assert told == {
        **{key: each for key, each in plain.items() if key != name},
        "BGP_LOGSEVERITYSCREEN": "debug",
    }


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_what_the_spec_names_no_more_does_not_stay(folder: Path) -> None:
    """Without WireGuard its port is closed: nodes that went on encrypting would not reach each other's pods."""
    before = made(folder, cluster(Calico(pools=(POOL,), wireguard=True, felix={"xdpEnabled": False})))
    after = made(folder, cluster(Calico(pools=(POOL,))))
    assert "xdpEnabled" in before["FelixConfiguration default"]["spec"]
    assert after["FelixConfiguration default"]["spec"] == {**AGENTS, "wireguardEnabled": False}
    assert "BGPPeer.crd.projectcalico.org" in components(after.values()).spec["types"], (
        "the last one goes, too"
    )


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_addresses_are_looked_for_by_family(folder: Path) -> None:
    six = IPPool("pods6", "fd00:244::/56", block_size=122)
    both = Calico(pools=(POOL, six), autodetection="cidr=10.98.0.0/24,fd00:98::/64,10.99.0.0/24")
    variables = env(made(folder, cluster(both, ("10.244.0.0/16", "fd00:244::/56"))))
    assert variables["IP_AUTODETECTION_METHOD"] == "cidr=10.98.0.0/24,10.99.0.0/24"
    assert variables["IP6_AUTODETECTION_METHOD"] == "cidr=fd00:98::/64"


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_bgp_says_nothing_of_the_mesh(folder: Path) -> None:
    """That goes in a step of its own."""
    flat = replace(POOL, encapsulation="None")
    objects = made(folder, cluster(Calico(pools=(flat,))))
    assert objects["BGPConfiguration default"]["spec"] == {"asNumber": 64512}
    bgp = BGP(route_reflectors=("cp1", "worker1"), service_cluster_ips=("10.96.0.0/16",))
    objects = made(folder, cluster(Calico(pools=(POOL,), bgp=bgp)))
    assert objects["BGPConfiguration default"]["spec"]["serviceClusterIPs"] == [{"cidr": "10.96.0.0/16"}]
    assert "BGPConfiguration default" not in made(folder, cluster(Calico(pools=(POOL,))))
    assert (bgp.meshed, BGP().meshed, BGP(mesh=False).meshed) == (False, True, False)


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_peers(folder: Path) -> None:
    rack = BGPPeer("rack", address="10.98.0.1", as_number=64513, nodes="rack == 'a'")
    objects = made(folder, cluster(Calico(pools=(POOL,), bgp=BGP(route_reflectors=("cp1",), peers=(rack,)))))
    assert objects["BGPPeer rack"]["spec"] == {
        "nodeSelector": "rack == 'a'",
        "peerIP": "10.98.0.1",
        "asNumber": 64513,
    }
    assert objects["BGPPeer route-reflectors"]["spec"]["peerSelector"] == "route-reflector == 'true'"


def test_plain_packets_want_one_subnet_unless_a_router_is_told() -> None:
    """Sessions among nodes tell no router between them where pods are."""

    def adjacent(*peers: BGPPeer) -> tuple[int, ...]:
        flat = replace(POOL, encapsulation="None")
        return needs_of(cluster(Calico(pools=(flat,), bgp=BGP(peers=peers)))).adjacent

    inside = BGPPeer("rack", peers="rack == 'a'")
    assert adjacent() == (4,)
    assert adjacent(inside) == (4,)
    assert not adjacent(inside, BGPPeer("router", address="10.98.0.1", as_number=64513))
