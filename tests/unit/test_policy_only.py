"""Calico for policies alone, where others' routers know the way to each node's pod CIDR."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.kube.objects import object_key
from provisioner.network.calicoagent import CONFIG, DAEMONS, TYPHA
from provisioner.network.mtu import mtu_misfits
from provisioner.network.needs import needs_of
from provisioner.network.patches import images_of
from provisioner.network.podnetwork import PodNetwork
from provisioner.network.ways import Way, way_of
from provisioner.playbook.facts import Facts
from provisioner.spec.buildcalico import build_calico
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
UPSTREAM = os.environ.get("PROVISION_UPSTREAM")
VERSIONS = sorted(Path(UPSTREAM).glob("calico-v*")) if UPSTREAM else []
BOTH = ("10.244.0.0/16", "fd00:244::/56")


def cluster(cidrs: tuple[str, ...] = BOTH[:1], **options: Any) -> ClusterSpec:
    spec = load_cluster(LAB)[1]
    calico = build_calico({"policy_only": True, **options}, cidrs)
    network = replace(spec.network, plugin="calico", calico=calico, pod_cidrs=cidrs)
    return replace(spec, network=network)


def made(folder: Path, spec: ClusterSpec) -> dict[str, dict[str, Any]]:
    network = PodNetwork(spec, lambda name: (folder / f"{name}.yaml").read_text())
    return {object_key(each): each for each in network.objects(lambda reference: f"private/{reference}")}


@pytest.mark.upstream
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_nodes_give_addresses_and_calico_enforces(folder: Path) -> None:
    objects = made(
        folder,
        cluster(
            BOTH, mtu=1400, felix={"logSeverityScreen": "Warning"}, env={"BGP_LOGSEVERITYSCREEN": "debug"}
        ),
    )
    conf = json.loads(objects[CONFIG]["data"]["cni_network_config"])
    (plugin,) = [each for each in conf["plugins"] if each["type"] == "calico"]
    assert plugin["ipam"] == {
        "type": "host-local",
        "ranges": [[{"subnet": "usePodCidr"}], [{"subnet": "usePodCidrIPv6"}]],
    }
    assert (plugin["mtu"], plugin["nodename"]) == (1400, "__KUBERNETES_NODE_NAME__")
    pod = objects[DAEMONS]["spec"]["template"]["spec"]
    (agent,) = pod["containers"]
    variables = {each["name"]: each["value"] for each in agent["env"] if "value" in each}
    wanted = {
        "CALICO_NETWORKING_BACKEND": "none",
        "NO_DEFAULT_POOLS": "true",
        "CALICO_MANAGE_CNI": "true",
        "FELIX_IPV6SUPPORT": "true",
        "BGP_LOGSEVERITYSCREEN": "debug",
    }
    assert {name: variables[name] for name in wanted} == wanted
    rules = objects["ClusterRole calico-cni-plugin"]["rules"]
    assert ["clusterinformations"] in [each["resources"] for each in rules]
    assert objects[TYPHA]["spec"]["replicas"] == 2, "for three nodes"
    assert objects["FelixConfiguration default"]["spec"]["logSeverityScreen"] == "Warning"
    assert all(each.startswith("private/") for each in images_of(objects.values()))
    assert not [key for key in objects if key.startswith(("IPPool ", "BGP"))]


@pytest.mark.upstream
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_a_new_configuration_rolls_the_pods(folder: Path) -> None:
    def digest(spec: ClusterSpec) -> str:
        meta = made(folder, spec)[DAEMONS]["spec"]["template"]["metadata"]
        return str(meta["annotations"]["provision.dev/config"])

    assert len({digest(each) for each in (cluster(), cluster(), cluster(mtu=1400), cluster(BOTH))}) == 3


def test_nodes_need_no_more_of_each_other_than_typha() -> None:
    needs = needs_of(cluster())
    assert (needs.what, needs.udp, needs.tcp, needs.adjacent) == ("Calico (policies alone)", (), (5473,), ())
    assert way_of(cluster().network, 4) == Way(plain=True)
    assert cluster().network.backend == "none"


def test_an_mtu_that_the_links_do_not_carry_is_told_with_its_key() -> None:
    spec = cluster()
    bare = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 1, {}, "eth0", mtus={"eth0": 1400})
    facts = {
        name: replace(bare, addresses={"eth0": (f"{node.address}/24",)}) for name, node in spec.nodes.items()
    }
    (first, *_) = mtu_misfits(spec, facts)
    assert "pods would have the MTU 1500, the network adds 0, and its link eth0 carries 1400" in first.reason
    assert "network.calico.mtu: 1400" in first.hint
