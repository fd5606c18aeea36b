"""Manifests are patched by path; what has no target is an error."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paperbundle import FLANNEL

from provisioner.errors import ProvisionError
from provisioner.network import flannel
from provisioner.network.patches import Edit, images_of, parse_manifest, patch
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Proxy

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
UPSTREAM = parse_manifest(FLANNEL, "x")


@pytest.fixture(scope="module")
def spec() -> ClusterSpec:
    return load_cluster(LAB)[1]


def private(reference: str) -> str:
    return f"registry.lab.internal:5000/{reference.partition('/')[2]}@sha256:0"


def test_flannel_gets_cidr_backend_and_private_images(spec: ClusterSpec) -> None:
    config, daemons = flannel.objects(spec, UPSTREAM, private)
    conf = json.loads(config["data"]["net-conf.json"])
    assert conf["Network"] == "10.244.0.0/16"
    assert conf["Backend"] == {"Type": "vxlan", "VNI": 1, "Port": 8472}
    assert conf["EnableNFTables"] is False
    assert config["data"]["cni-conf.json"] == "{}"
    assert {reference.partition("/")[0] for reference in images_of([daemons])} == {
        "registry.lab.internal:5000"
    }


def made(spec: ClusterSpec, options: Flannel, **changed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """net-conf.json and the agent's container."""
    network = replace(spec.network, flannel=options)
    config, daemons = flannel.objects(replace(spec, network=network, **changed), UPSTREAM, private)
    return json.loads(config["data"]["net-conf.json"]), daemons["spec"]["template"]["spec"]["containers"][0]


BACKENDS = [
    (Flannel(mtu=1400), {"Type": "vxlan", "VNI": 1, "Port": 8472, "MTU": 1400}),
    (
        Flannel(vni=7, port=4789, direct_routing=True, gbp=True, learning=True),
        {"Type": "vxlan", "VNI": 7, "Port": 4789, "DirectRouting": True, "GBP": True, "Learning": True},
    ),
    (Flannel("host-gw"), {"Type": "host-gw"}),
    (
        Flannel("wireguard", mode="auto", keepalive=25),
        {
            "Type": "wireguard",
            "ListenPort": 51820,
            "ListenPortV6": 51820,
            "Mode": "auto",
            "PersistentKeepaliveInterval": 25,
        },
    ),
    (Flannel("ipip", direct_routing=True), {"Type": "ipip", "DirectRouting": True}),
    (Flannel("udp"), {"Type": "udp", "Port": 8285}),
]


@pytest.mark.parametrize(("options", "backend"), BACKENDS, ids=[each[0].backend for each in BACKENDS])
def test_each_back_end_is_told_what_it_has(
    spec: ClusterSpec, options: Flannel, backend: dict[str, Any]
) -> None:
    assert made(spec, options)[0]["Backend"] == backend


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (Flannel(interface="eth1"), "--iface=eth1"),
        (Flannel(interface_regex="^en"), "--iface-regex=^en"),
        (Flannel(can_reach="192.0.2.1"), "--iface-can-reach=192.0.2.1"),
    ],
)
def test_ways_to_the_link(spec: ClusterSpec, options: Flannel, flag: str) -> None:
    assert made(spec, options)[1]["args"] == ["--ip-masq", "--kube-subnet-mgr", flag]


def test_only_the_device_of_udp_takes_rights(spec: ClusterSpec) -> None:
    assert made(spec, Flannel("udp"))[1]["securityContext"] == {"privileged": True}
    assert made(spec, Flannel())[1]["securityContext"] == {"privileged": False}


def test_flannel_follows_the_proxy_and_the_families(spec: ClusterSpec) -> None:
    network = replace(spec.network, pod_cidrs=("10.244.0.0/16", "fd00:244::/56"))
    conf = json.loads(flannel.net_conf(replace(spec, network=network, proxy=Proxy("nftables"))))
    assert {key: conf[key] for key in conf if key != "Backend"} == {
        "EnableNFTables": True,
        "EnableIPv4": True,
        "EnableIPv6": True,
        "Network": "10.244.0.0/16",
        "IPv6Network": "fd00:244::/56",
    }


def test_a_new_configuration_rolls_the_pods(spec: ClusterSpec) -> None:
    def annotation(of: ClusterSpec) -> str:
        daemons = flannel.objects(of, UPSTREAM, private)[1]
        return str(daemons["spec"]["template"]["metadata"]["annotations"]["provision.dev/config"])

    other = replace(spec, network=replace(spec.network, pod_cidrs=("10.200.0.0/16",)))
    assert annotation(spec) == annotation(spec) != annotation(other)


def test_upstream_objects_stay_as_they_are(spec: ClusterSpec) -> None:
    flannel.objects(spec, UPSTREAM, private)
    assert parse_manifest(FLANNEL, "x") == UPSTREAM


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            Edit("DaemonSet kube-system/kube-flannel-ds", ("spec",), 1, "because"),
            "has no DaemonSet kube-system",
        ),
        (
            Edit("ConfigMap kube-flannel/kube-flannel-cfg", ("dat", "x"), 1, "because"),
            "has no dat.x (because)",
        ),
        (
            Edit("ConfigMap kube-flannel/kube-flannel-cfg", ("data", "net-conf.jsn"), "{}", "because"),
            "has no data.net-conf.jsn (because)",
        ),
        (
            Edit(
                "DaemonSet kube-flannel/kube-flannel-ds",
                ("spec", "template", "spec", "containers", 7, "image"),
                1,
                "b",
            ),
            "7",
        ),
    ],
)
def test_an_edit_without_a_target_is_an_error(edit: Edit, words: str) -> None:
    with pytest.raises(ProvisionError) as raised:
        patch(parse_manifest(FLANNEL, "x"), [edit], "kube-flannel.yml")
    assert words in str(raised.value)


def test_no_manifest_is_told() -> None:
    with pytest.raises(ProvisionError, match="no readable manifest"):
        parse_manifest("a: [", "kube-flannel.yml")


def other_manifests() -> dict[str, str]:
    """The sample above, and manifests of other versions where PROVISION_UPSTREAM names a folder of them."""
    root = os.environ.get("PROVISION_UPSTREAM")
    found = sorted(Path(root).glob("flannel-v*/kube-flannel.yml")) if root else []
    return {"sample": FLANNEL} | {path.parent.name: path.read_text() for path in found}


@pytest.mark.parametrize("name", other_manifests())
def test_other_versions_of_flannel(spec: ClusterSpec, name: str) -> None:
    made = flannel.objects(spec, parse_manifest(other_manifests()[name], name), private)
    images = images_of(made)
    assert images
    assert all(image.startswith("registry.lab.internal:5000/") for image in images)
