"""Calico by its operator: what it is told, which images it pulls, and who refuses it without them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from paperbundle import FELIX, definition, of_types

from provisioner.action.podnetwork import check_images
from provisioner.bundle.layout import Artifact, Bundle, Image
from provisioner.errors import ProvisionError
from provisioner.kube.components import components
from provisioner.kube.objects import object_key
from provisioner.network import tigera
from provisioner.network.podnetwork import PodNetwork
from provisioner.spec.calico import BGP, Calico, IPPool, Operator
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
UPSTREAM = os.environ.get("PROVISION_UPSTREAM")
VERSIONS = sorted(Path(UPSTREAM).glob("calico-v*")) if UPSTREAM else []
FOLDERS = {folder.name: folder for folder in VERSIONS}
POOL = IPPool("pods", "10.244.0.0/16")
PAPER = {
    "tigera-operator": (
        yaml.safe_dump(
            definition(
                "installations.operator.tigera.io",
                "Installation",
                of_types("""
variant: {type: string}
registry: {type: string}
imagePath: {type: string}
flexVolumePath: {type: string}
kubeletVolumePluginPath: {type: string}
calicoNetwork:
  type: object
  properties:
    bgp: {type: string}
    mtu: {type: integer}
    nodeAddressAutodetectionV4: {type: object, properties: {kubernetes: {type: string}}}
    ipPools:
      type: array
      items:
        type: object
        properties:
          cidr: {type: string}
          encapsulation: {type: string}
          blockSize: {type: integer}
          natOutgoing: {type: string}
          nodeSelector: {type: string}
"""),
            )
        )
        + "---\n"
        + FELIX
        + """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tigera-operator, namespace: tigera-operator}
spec: {template: {spec: {containers: [{name: tigera-operator, image: "quay.io/tigera/operator:v1.30.4"}]}}}
"""
    ),
    "calico-typha": """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: calico-node, namespace: kube-system}
spec: {template: {spec: {containers: [{name: calico-node, image: "docker.io/calico/node:v3.26.1"}]}}}
""",
}


def private(reference: str) -> str:
    name = reference.partition("/")[2].partition(":")[0]
    return f"registry.lab.internal:5000/site/{name}@sha256:{'0' * 64}"


def cluster(**options: Any) -> ClusterSpec:
    spec = load_cluster(LAB)[1]
    calico = Calico(install="operator", **{"pools": (POOL,), **options})
    cidrs = tuple(each.cidr for each in calico.pools)
    return replace(spec, network=replace(spec.network, plugin="calico", calico=calico, pod_cidrs=cidrs))


def made(read: Callable[[str], str], **options: Any) -> dict[str, dict[str, Any]]:
    return {object_key(each): each for each in PodNetwork(cluster(**options), read).objects(private)}


def told(read: Callable[[str], str], **options: Any) -> dict[str, Any]:
    said: dict[str, Any] = made(read, **options)["Installation default"]["spec"]
    return said


def test_nodes_look_for_images_in_the_private_registry() -> None:
    said = told(PAPER.__getitem__)
    assert (said["registry"], said["imagePath"]) == ("registry.lab.internal:5000/", "site/calico")
    assert (said["flexVolumePath"], said["kubeletVolumePluginPath"]) == ("None", "None")
    operator = made(PAPER.__getitem__)["Deployment tigera-operator/tigera-operator"]
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.lab.internal:5000/site/tigera/operator@sha256:{'0' * 64}"


def test_why_an_image_is_another_fits_what_it_is() -> None:
    def whys(image: Callable[[str], str]) -> set[str]:
        return {each.why for each in PodNetwork(cluster(), PAPER.__getitem__).patched(image)}

    assert whys(private) == {"images come from the private registry, by digest"}
    by_tag = (
        "images come from the private registry, by tag: the bundle has not this one, others have put it there"
    )
    assert whys(lambda reference: private(reference).partition("@")[0] + ":v1.30.4") == {by_tag}


def test_the_operator_comes_last_and_its_definitions_first() -> None:
    kinds = dict.fromkeys(key.partition(" ")[0] for key in made(PAPER.__getitem__))
    assert list(kinds) == ["CustomResourceDefinition", "FelixConfiguration", "Installation", "Deployment"]


def test_a_pool_has_what_its_release_knows() -> None:
    (pool,) = told(PAPER.__getitem__)["calicoNetwork"]["ipPools"]
    assert pool == {
        "cidr": "10.244.0.0/16",
        "encapsulation": "VXLAN",
        "blockSize": 26,
        "natOutgoing": "Enabled",
        "nodeSelector": "all()",
    }
    two = (replace(POOL, name="a", cidr="10.244.0.0/17"), replace(POOL, name="b", cidr="10.244.128.0/17"))
    with pytest.raises(ProvisionError, match="this release makes one IPv4 pool, not a, b"):
        told(PAPER.__getitem__, pools=two)
    with pytest.raises(
        ProvisionError, match=r"spec\.calicoNetwork\.ipPools\[0\] has no field 'disableBGPExport'"
    ):
        told(PAPER.__getitem__, pools=(replace(POOL, disable_bgp_export=True),))


@pytest.mark.parametrize(
    ("encapsulation", "bgp"),
    [("VXLAN", "Disabled"), ("VXLANCrossSubnet", "Disabled"), ("IPIP", "Enabled"), ("None", "Enabled")],
)
def test_bgp_where_the_encapsulation_wants_it(encapsulation: str, bgp: str) -> None:
    network = told(PAPER.__getitem__, pools=(replace(POOL, encapsulation=encapsulation),))["calicoNetwork"]
    assert (network["bgp"], network["ipPools"][0]["encapsulation"]) == (bgp, encapsulation)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("kubernetes-internal-ip", {"kubernetes": "NodeInternalIP"}),
        ("first-found", {"firstFound": True}),
        ("can-reach=192.0.2.1", {"canReach": "192.0.2.1"}),
        ("interface=eth.*,en.*", {"interface": "eth.*,en.*"}),
        ("skip-interface=docker.*", {"skipInterface": "docker.*"}),
        ("cidr=10.0.0.0/8,192.0.2.0/24", {"cidrs": ["10.0.0.0/8", "192.0.2.0/24"]}),
    ],
)
def test_every_method_has_a_word(method: str, said: dict[str, Any]) -> None:
    assert tigera.autodetection(method) == said


def test_a_field_that_the_release_has_not_is_named() -> None:
    wrong = Operator(installation={"calicoNetwork": {"mtuu": 1}})
    with pytest.raises(ProvisionError) as caught:
        told(PAPER.__getitem__, operator=wrong)
    assert "spec.calicoNetwork has no field 'mtuu'" in caught.value.reason
    assert caught.value.hint == "did you mean 'mtu'?"


def test_an_operator_of_which_nobody_knows_what_it_pulls() -> None:
    newer = {**PAPER, "tigera-operator": PAPER["tigera-operator"].replace("v1.30.4", "v9.1.0")}
    with pytest.raises(ProvisionError, match=r"is known of 1\.30, 1\.34, 1\.42, not of this one \(9\.1\)"):
        _ = PodNetwork(cluster(), newer.__getitem__).images


def test_what_is_not_in_the_bundle_is_named_with_its_place(tmp_path: Path) -> None:
    artifacts = []
    for name, text in PAPER.items():
        (tmp_path / name).write_text(text)
        artifacts.append(Artifact(name, "v3.26.1", "linux/amd64", "0" * 64, 1, tmp_path / name))
    there = [
        Image(f"docker.io/calico/{name}", "v3.26.1", "sha256:0", b"", "", ())
        for name in ("node", "cni", "typha", "kube-controllers")
    ]
    bundle = Bundle(tmp_path, "digest", (*artifacts, *there))
    with pytest.raises(ProvisionError) as caught:
        check_images(cluster(operator=Operator(csi=True)), bundle)
    first, *missing = caught.value.reason.splitlines()
    assert first.startswith("the bundle lacks 3 of the 7 images that Calico's operator and its nodes pull")
    driver = "calico/node-driver-registrar:v3.26.1"
    assert missing == [
        "docker.io/calico/csi:v3.26.1 (registry.lab.internal:5000/calico/csi:v3.26.1)",
        f"docker.io/{driver} (registry.lab.internal:5000/{driver})",
        "quay.io/tigera/operator:v1.30.4 (registry.lab.internal:5000/tigera/operator:v1.30.4)",
    ]
    operator = Image("quay.io/tigera/operator", "v1.30.4", "sha256:0", b"", "", ())
    check_images(cluster(), replace(bundle, contents=(*bundle.contents, operator)))


@pytest.mark.upstream
@pytest.mark.parametrize("folder", FOLDERS)
def test_each_release_knows_all_that_it_is_told(folder: str) -> None:
    """By its own definitions, which `objects` asks."""
    pools = (
        replace(
            POOL, name="a", cidr="10.244.0.0/17", encapsulation="IPIPCrossSubnet", disable_bgp_export=True
        ),
        replace(
            POOL, name="b", cidr="10.244.128.0/17", encapsulation="None", nat_outgoing=False, block_size=28
        ),
    )
    whole = Operator(
        True, True, True, {"controlPlaneReplicas": 2, "calicoNetwork": {"hostPorts": "Disabled"}}
    )
    bgp = BGP(route_reflectors=("cp1", "worker1"))

    def read(name: str) -> str:
        return (FOLDERS[folder] / f"{name}.yaml").read_text()

    objects = made(read, pools=pools, mtu=1400, operator=whole, bgp=bgp, wireguard=True)
    network = objects["Installation default"]["spec"]["calicoNetwork"]
    assert [each["name"] for each in network["ipPools"]] == ["a", "b"]
    assert (network["mtu"], network["hostPorts"]) == (1400, "Disabled")
    assert {"APIServer default", "BGPPeer route-reflectors", "FelixConfiguration default"} <= objects.keys()
    (name,) = [key for key in objects if key.startswith("ImageSet ")]
    assert name == f"ImageSet {folder}"
    images = {each["image"]: each["digest"] for each in objects[name]["spec"]["images"]}
    assert len(images) == 8
    assert set(images.values()) == {f"sha256:{'0' * 64}"}


@pytest.mark.upstream
@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_asked_for_no_more_is_looked_for(folder: str) -> None:
    """An ImageSet that stayed would hold nodes to old digests."""
    objects = made(lambda name: (FOLDERS[folder] / f"{name}.yaml").read_text())
    assert not [key for key in objects if key.startswith(("APIServer ", "ImageSet ", "BGPPeer "))]
    looked_for = components(objects.values()).spec["types"]
    wanted = {"APIServer.operator.tigera.io", "ImageSet.operator.tigera.io", "BGPPeer.crd.projectcalico.org"}
    assert wanted <= set(looked_for)


def test_typha_is_always_there() -> None:
    assert cluster().network.calico.with_typha(1)
