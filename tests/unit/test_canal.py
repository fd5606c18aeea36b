"""Canal: flannel's network in every mode of flannel's, and Calico's policies on it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.kube.objects import object_key
from provisioner.network import canal
from provisioner.network.combinations import misfits
from provisioner.network.mtu import given_mtu, mtu_misfits
from provisioner.network.needs import needs_of
from provisioner.network.patches import images_of
from provisioner.network.podnetwork import PodNetwork
from provisioner.playbook.facts import Facts
from provisioner.spec.calico import Calico
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Proxy

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
UPSTREAM = os.environ.get("PROVISION_UPSTREAM")
VERSIONS = sorted(Path(UPSTREAM).glob("calico-v*")) if UPSTREAM else []
FLANNEL = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  template:
    spec:
      initContainers: [{name: install-cni-plugin, image: "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1"}]
      containers: [{name: kube-flannel, image: "ghcr.io/flannel-io/flannel:v0.28.4"}]
"""
BOTH = ("10.244.0.0/16", "fd00:244::/56")


def cluster(flannel: Flannel | None = None, cidrs: tuple[str, ...] = BOTH[:1], **options: Any) -> ClusterSpec:
    spec = load_cluster(LAB)[1]
    network = replace(spec.network, plugin="canal", flannel=flannel or Flannel(), pod_cidrs=cidrs)
    return replace(spec, network=replace(network, calico=Calico(**options)))


def made(folder: Path, spec: ClusterSpec) -> dict[str, dict[str, Any]]:
    def read(name: str) -> str:
        return FLANNEL if name == "kube-flannel" else (folder / f"{name}.yaml").read_text()

    objects = PodNetwork(spec, read).objects(lambda reference: f"private/{reference}")
    return {object_key(each): each for each in objects}


def containers(objects: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    pod = objects[canal.DAEMONS]["spec"]["template"]["spec"]
    return {each["name"]: each for each in (*pod["initContainers"], *pod["containers"])}


def env(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


@pytest.mark.upstream
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_flannel_carries_and_calico_enforces(folder: Path) -> None:
    spec = cluster(
        Flannel("host-gw", interface="eth1"),
        felix={"logSeverityScreen": "Warning"},
        env={"BGP_LOGSEVERITYSCREEN": "debug"},
    )
    objects = made(folder, spec)
    config = objects[canal.CONFIG]["data"]
    assert json.loads(config["net-conf.json"])["Backend"] == {"Type": "host-gw"}
    assert config["veth_mtu"] == "1500"
    assert '"usePodCidr"' in config["cni_network_config"]
    found = containers(objects)
    assert found["kube-flannel"]["command"][-1] == "--iface=eth1"
    assert found["kube-flannel"]["image"] == "private/ghcr.io/flannel-io/flannel:v0.28.4"
    variables = env(found["calico-node"])
    assert (variables["CALICO_NETWORKING_BACKEND"], variables["NO_DEFAULT_POOLS"]) == ("none", "true")
    assert (variables["FELIX_IPV6SUPPORT"], variables["BGP_LOGSEVERITYSCREEN"]) == ("false", "debug")
    assert "host-local" in env(found["install-cni"])["SKIP_CNI_BINARIES"]
    assert objects["FelixConfiguration default"]["spec"] == {
        "logSeverityScreen": "Warning",
        "reportingInterval": "0s",
        "wireguardEnabled": False,
    }
    assert all(each.startswith("private/") for each in images_of(objects.values()))
    assert not [key for key in objects if key.startswith(("IPPool", "BGP"))]


@pytest.mark.upstream
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_no_variable_beats_what_felix_is_told(folder: Path) -> None:
    told = made(folder, cluster(felix={"defaultEndpointToHostAction": "Drop", "healthPort": 9199}))
    assert env(containers(told)["calico-node"])["FELIX_HEALTHPORT"] == "9199", "the probes would not know it"
    assert "FELIX_DEFAULTENDPOINTTOHOSTACTION" in env(containers(made(folder, cluster()))["calico-node"])
    assert "FELIX_DEFAULTENDPOINTTOHOSTACTION" not in env(containers(told)["calico-node"])


@pytest.mark.upstream
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_two_families(folder: Path) -> None:
    objects = made(folder, cluster(cidrs=BOTH))
    conf = json.loads(objects[canal.CONFIG]["data"]["cni_network_config"])
    (plugin,) = [each for each in conf["plugins"] if each["type"] == "calico"]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "usePodCidr"}], [{"subnet": "usePodCidrIPv6"}]]
    assert plugin["mtu"] == 1430
    assert plugin["nodename"] == "__KUBERNETES_NODE_NAME__"
    net = json.loads(objects[canal.CONFIG]["data"]["net-conf.json"])
    assert (net["EnableIPv6"], net["IPv6Network"]) == (True, "fd00:244::/56")
    assert env(containers(objects)["calico-node"])["FELIX_IPV6SUPPORT"] == "true"


@pytest.mark.upstream
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_a_new_configuration_rolls_the_pods(folder: Path) -> None:
    def digest(spec: ClusterSpec) -> str:
        meta = made(folder, spec)[canal.DAEMONS]["spec"]["template"]["metadata"]
        return str(meta["annotations"]["provision.dev/config"])

    one = digest(cluster())
    assert one == digest(cluster())
    assert (
        len({one, digest(cluster(mtu=1400)), digest(cluster(Flannel(vni=7))), digest(cluster(cidrs=BOTH))})
        == 4
    )


@pytest.mark.parametrize(
    ("flannel", "mtu", "pods"),
    [
        (Flannel(), 0, 1450),
        (Flannel(mtu=9000), 0, 8950),
        (Flannel("host-gw"), 0, 1500),
        (Flannel("wireguard"), 0, 1420),
        (Flannel(), 1400, 1400),
    ],
)
def test_pods_get_what_the_tunnel_leaves(flannel: Flannel, mtu: int, pods: int) -> None:
    assert given_mtu(cluster(flannel, mtu=mtu)) == pods


def test_an_mtu_that_the_links_do_not_carry_is_told_with_its_key() -> None:
    spec = cluster()
    bare = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 1, {}, "eth0", mtus={"eth0": 1400})
    facts = {
        name: replace(bare, addresses={"eth0": (f"{node.address}/24",)}) for name, node in spec.nodes.items()
    }
    (first, *_) = mtu_misfits(spec, facts)
    assert "pods would have the MTU 1450" in first.reason
    assert "network.calico.mtu: 1350" in first.hint


def test_pods_that_are_told_more_than_flannel_s_tunnel_takes() -> None:
    (fault,) = mtu_misfits(cluster(Flannel(mtu=1400), mtu=1450), {})
    assert "MTU 1450, and flannel's tunnel, whose network.flannel.mtu is 1400, adds 50" in fault.reason
    assert "1350" in fault.hint
    assert list(mtu_misfits(cluster(Flannel(mtu=1400), mtu=1350), {})) == []


def test_what_it_needs_is_flannel_s_and_what_does_not_go_is_of_both() -> None:
    assert needs_of(cluster(Flannel("wireguard"))).udp == (51820,)
    images = ["docker.io/calico/node:v3.28.5", "ghcr.io/flannel-io/flannel:v0.15.1"]
    spec = replace(cluster(Flannel("wireguard")), proxy=Proxy("nftables"))
    reasons = [each.reason for each in misfits(spec, images, {}) if not each.untested]
    assert [reason.partition(" does not go")[0] for reason in reasons] == [
        "flannel 0.15",
        "flannel 0.15",
        "Calico 3.28",
    ]
