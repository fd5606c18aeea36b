"""Networks beside the pods' own: what is rendered, what of multus is changed, and what facts refuse."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paperbundle import MULTUS, MULTUS_THICK, paper_bundle

from provisioner.action import load as loading
from provisioner.action.attachments import check_attachments
from provisioner.action.load import Request, load
from provisioner.action.prepare import compile_with
from provisioner.action.source import bundle_of
from provisioner.bundle import catalogue, publish, write
from provisioner.bundle.catalogue import ImageRecipe
from provisioner.bundle.store import Store
from provisioner.engine.events import Event, Note, silent
from provisioner.errors import InputError, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.kube.components import components
from provisioner.kube.objects import object_key
from provisioner.network import multus
from provisioner.network.attachments import configuration, objects
from provisioner.network.needs import links_of, modules_of_attachments
from provisioner.network.patches import images_of, parse_manifest
from provisioner.playbook.facts import Facts
from provisioner.spec.attachments import Attachment, Ipam, Multus, Range, Route, StaticAddress
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
UPSTREAM = os.environ.get("PROVISION_UPSTREAM")
FOLDERS = sorted(Path(UPSTREAM).glob("multus-v*")) if UPSTREAM else []
SAMPLES = {"thin": MULTUS, "thick": MULTUS_THICK}
REFERENCES = [
    f"{multus.IMAGE}:v4.3.0",
    f"{multus.IMAGE}:v4.3.0-thick",
    "example.org/multus:v1",
    "example.org/multus:v1-thick",
]


@pytest.fixture(scope="module")
def lab() -> ClusterSpec:
    return load_cluster(LAB)[1]


def with_attachments(spec: ClusterSpec, *attachments: Attachment, variant: str = "thin") -> ClusterSpec:
    network = replace(spec.network, attachments=attachments, multus=Multus(variant))
    return replace(spec, network=network)


def private(reference: str) -> str:
    return f"registry.lab.internal:5000/{reference.partition('/')[2]}@sha256:0"


RANGES = Ipam(
    "host-local",
    (
        Range("192.0.2.0/24", "192.0.2.10"),
        Range("192.0.2.128/25", gateway="192.0.2.129"),
        Range("fd00:5::/64"),
    ),
    routes=(Route("203.0.113.0/24", "192.0.2.1"), Route("198.51.100.0/24")),
)
CONFIGURATIONS = [
    (
        Attachment("a", "macvlan", master="eth1", mode="vepa", mtu=1400),
        {"type": "macvlan", "master": "eth1", "mode": "vepa", "mtu": 1400, "ipam": {}},
    ),
    (
        Attachment("a", "ipvlan", master="eth1", mode="l3", ipam=RANGES),
        {
            "type": "ipvlan",
            "master": "eth1",
            "mode": "l3",
            "ipam": {
                "type": "host-local",
                "ranges": [
                    [
                        {"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.10"},
                        {"subnet": "192.0.2.128/25", "gateway": "192.0.2.129"},
                    ],
                    [{"subnet": "fd00:5::/64"}],
                ],
                "routes": [{"dst": "203.0.113.0/24", "gw": "192.0.2.1"}, {"dst": "198.51.100.0/24"}],
            },
        },
    ),
    (
        Attachment("a", "bridge", bridge="br1", is_gateway=True, masquerade=True, vlan=20, ipam=Ipam("dhcp")),
        {
            "type": "bridge",
            "bridge": "br1",
            "isGateway": True,
            "ipMasq": True,
            "vlan": 20,
            "ipam": {"type": "dhcp"},
        },
    ),
    (
        Attachment(
            "a",
            "host-device",
            device="eth2",
            ipam=Ipam("static", addresses=(StaticAddress("192.0.2.5/24", "192.0.2.1"),)),
        ),
        {
            "type": "host-device",
            "device": "eth2",
            "ipam": {"type": "static", "addresses": [{"address": "192.0.2.5/24", "gateway": "192.0.2.1"}]},
        },
    ),
    (
        Attachment("a", "sriov", resource="intel.com/net", vlan=7, ipam=Ipam("static")),
        {"type": "sriov", "vlan": 7, "capabilities": {"ips": True}, "ipam": {"type": "static"}},
    ),
]


@pytest.mark.parametrize(("attachment", "said"), CONFIGURATIONS, ids=lambda each: str(each)[:40])
def test_each_plug_in_is_told_what_it_has(attachment: Attachment, said: dict[str, Any]) -> None:
    assert configuration(attachment) == {"cniVersion": "1.0.0", "name": "default.a", **said}


def test_definitions_are_the_same_bytes_and_have_their_namespaces_first() -> None:
    attachments = (
        Attachment("a", "macvlan", "shop", master="eth1", mode="bridge"),
        Attachment("a", "sriov", resource="intel.com/net"),
        Attachment("b", "sriov", "shop", resource="intel.com/net"),
    )
    made = objects(attachments)
    assert made == objects(attachments)
    assert [object_key(each) for each in made] == [
        "Namespace shop",
        "NetworkAttachmentDefinition shop/a",
        "NetworkAttachmentDefinition default/a",
        "NetworkAttachmentDefinition shop/b",
    ]
    assert made[2]["metadata"]["annotations"] == {"k8s.v1.cni.cncf.io/resourceName": "intel.com/net"}
    names = [json.loads(each["spec"]["config"])["name"] for each in made[1:]]
    assert names == ["shop.a", "default.a", "shop.b"], "host-local counts by this name"


def manifests(variant: str) -> dict[str, str]:
    file = {"thin": "multus-daemonset.yml", "thick": "multus-daemonset-thick.yml"}[variant]
    return {"sample": SAMPLES[variant]} | {each.name: (each / file).read_text() for each in FOLDERS}


@pytest.mark.parametrize("variant", ["thin", "thick"])
def test_what_of_multus_is_changed(lab: ClusterSpec, variant: str) -> None:
    for name, text in manifests(variant).items():
        spec = with_attachments(lab, Attachment("a", "sriov", resource="intel.com/net"), variant=variant)
        read = {multus.ARTIFACTS[variant]: text}
        attached = multus.Attached(spec, lambda wanted, read=read: read[wanted], REFERENCES)  # type: ignore[misc]
        made = {object_key(each): each for each in attached.objects(private)}
        assert "CustomResourceDefinition network-attachment-definitions.k8s.cni.cncf.io" in made, name
        assert "NetworkAttachmentDefinition default/a" in made
        suffix = "-thick" if variant == "thick" else ""
        (image,) = images_of([made[multus.DAEMONS]])
        assert image.startswith("registry.lab.internal:5000/")
        assert image.endswith(f"{suffix}@sha256:0")
        assert "snapshot" not in image
        (own,) = attached.images
        assert own.endswith(suffix)
        if variant == "thick":
            config = json.loads(made[multus.CONFIG]["data"]["daemon-config.json"])
            assert config["multusMasterCNI"] == "10-flannel.conflist"
            assert config["cniConfigDir"] == "/host/etc/cni/net.d", "the rest is as it was"
        else:
            container = made[multus.DAEMONS]["spec"]["template"]["spec"]["containers"][0]
            assert "--cleanup-config-on-exit=true" in container["args"]
            assert "--multus-conf-file=auto" in container["args"]


def test_the_last_definition_goes_as_well(lab: ClusterSpec) -> None:
    made = multus.objects(with_attachments(lab), parse_manifest(MULTUS, "x"), private)
    assert "NetworkAttachmentDefinition.k8s.cni.cncf.io" in components(made).spec["types"]
    assert "NetworkAttachmentDefinition.k8s.cni.cncf.io" not in components(made[1:]).spec["types"]


def test_the_default_network_is_the_plug_ins(lab: ClusterSpec) -> None:
    spec = with_attachments(lab, variant="thick")
    spec = replace(spec, network=replace(spec.network, plugin="calico"))
    made = multus.objects(spec, parse_manifest(MULTUS_THICK, "x"), private)
    config = next(each for each in made if object_key(each) == multus.CONFIG)
    assert json.loads(config["data"]["daemon-config.json"])["multusMasterCNI"] == "10-calico.conflist"


def test_a_manifest_for_another_runtime_is_refused(lab: ClusterSpec) -> None:
    elsewhere = MULTUS.replace("/opt/cni/bin", "/usr/libexec/cni")
    with pytest.raises(ProvisionError, match="mounts no /opt/cni/bin"):
        multus.objects(with_attachments(lab), parse_manifest(elsewhere, "x"), private)


def test_without_multus_there_is_nothing(lab: ClusterSpec) -> None:
    attached = multus.Attached(lab, lambda _: "", [])
    assert (attached.objects(private), attached.images, attached.daemons) == ([], [], [])


@pytest.mark.parametrize("parts", [(), ("multus",), ("multus-cni",), ("multus-thick", "multus-cni-thick")])
def test_a_bundle_without_multus_is_told_before_anything(tmp_path: Path, parts: tuple[str, ...]) -> None:
    inventory, spec = asking(tmp_path, parts)
    assert spec.network.multus == Multus("thin")
    with pytest.raises(InputError) as caught:
        bundle_of(inventory, spec)
    (problem,) = caught.value.problems
    assert problem.reason.startswith(f"attachments: the bundle {tmp_path}/b has no multus")
    assert "`provision bundle build`" in problem.hint
    assert problem.line > 0


def test_a_bundle_with_multus(tmp_path: Path) -> None:
    inventory, spec = asking(tmp_path, ("multus", "multus-cni"))
    assert [each.tag for each in bundle_of(inventory, spec).images()] == ["v4.3.0"]


def asking(folder: Path, parts: tuple[str, ...]) -> tuple[Inventory, ClusterSpec]:
    """An inventory with an attachment, and a bundle of an API server and the `parts`."""
    store, components = Store(folder / "store"), {each.name: each for each in catalogue.load()}
    made = []
    for name in ("kube-apiserver", *parts):
        with store.workspace() as workspace:
            (workspace / "file").write_bytes(name.encode())
            if components[name].kind == "image":
                recipe = replace(components[name], image=ImageRecipe((), ()))
                made.append(publish.image(recipe, [], "release", store))
            else:
                made.append(publish.artifact(components[name], workspace / "file", "release", store))
    write.write_bundle(made, store, folder / "b")
    attached = "network:\n        attachments: [{name: a, type: macvlan, master: eth1}]"
    text = LAB.read_text(encoding="utf-8").replace("network:", attached, 1)
    path = folder / "inventory.yaml"
    path.write_text(text.replace("cluster:", "cluster:\n      bundle: ./b", 1), encoding="utf-8")
    return load_cluster(path)


ADDRESSES = {"lo": ("127.0.0.1/8",), "eth0": (), "eth1": ("192.0.2.7/24",)}


def facts(spec: ClusterSpec, links: dict[str, tuple[str, ...]], **more: Any) -> dict[str, Facts]:
    modules = ("macvlan", "ipvlan", "bridge")
    bare = Facts(
        "amd64", "6.1.0", "h", "debian", "12", 0.0, False, 1, {}, "eth0", modules=modules, masters=links
    )
    return {
        name: replace(bare, addresses={**ADDRESSES, "eth0": (f"{node.address}/24",)}, **more)
        for name, node in spec.nodes.items()
    }


MACVLAN = Attachment("a", "macvlan", master="eth1", mode="bridge", mtu=1500)
REFUSED = [
    (
        replace(MACVLAN, master="store"),
        {},
        "is no link store",
        "it has eth0, eth1; where only some nodes have it",
    ),
    (replace(MACVLAN, master="eth11"), {}, "there is no link eth11", "did you mean 'eth1'?"),
    (MACVLAN, {"eth1": ("mtu 1400",)}, "the MTU 1500 is more than eth1's, 1400", "1400 at most"),
    (MACVLAN, {"eth1": ("mtu 1500", "wireless")}, "eth1 is wireless", "use the type ipvlan"),
    (MACVLAN, {"eth1": ("mtu 1500", "part of br0")}, "eth1 is part of br0", "make br0 the master"),
    (
        Attachment("a", "bridge", bridge="eth1"),
        {"eth1": ("mtu 1500",)},
        "is there, and is no bridge",
        "another name",
    ),
    (
        Attachment("a", "host-device", device="eth0"),
        {"eth0": ()},
        "eth0 is what the node itself",
        "another link",
    ),
    (
        replace(MACVLAN, ipam=Ipam("host-local", (Range("192.0.2.0/24"),))),
        {"eth1": ("mtu 1500",)},
        "pods would get 192.0.2.7, which eth1 has",
        "narrow its ranges",
    ),
]


@pytest.mark.parametrize(("attachment", "links", "reason", "hint"), REFUSED)
def test_what_facts_refuse(
    lab: ClusterSpec, attachment: Attachment, links: dict[str, tuple[str, ...]], reason: str, hint: str
) -> None:
    spec = with_attachments(lab, attachment)
    with pytest.raises(ProvisionError) as caught:
        check_attachments(spec, facts(spec, links), silent)
    said = [
        line
        for line in caught.value.reason.splitlines()
        if line.startswith("worker1: attachment default/a: ")
    ]
    assert any(reason in line for line in said)
    assert hint in caught.value.hint


def test_only_nodes_that_are_named_are_looked_at(lab: ClusterSpec) -> None:
    spec = with_attachments(lab, replace(MACVLAN, nodes=("worker2",)))
    known = facts(spec, {})
    known["worker2"] = replace(known["worker2"], masters={"eth1": ("mtu 1500",)})
    check_attachments(spec, known, silent)
    assert links_of(spec) == ("eth1",)


def test_a_module_that_the_kernel_lacks_is_named(lab: ClusterSpec) -> None:
    spec = with_attachments(lab, Attachment("a", "ipvlan", master="eth1", mode="l2", ipam=Ipam("static")))
    assert modules_of_attachments(spec) == ("ipvlan",)
    known = facts(
        spec,
        {"eth1": ("mtu 1500",)},
    )
    known = {name: replace(each, modules=("macvlan",)) for name, each in known.items()}
    with pytest.raises(
        ProvisionError, match=r"worker1: attachment default/a needs ipvlan, which the kernel 6\.1\.0 has not"
    ):
        check_attachments(spec, known, silent)


TOLD = [
    (
        replace(MACVLAN, ipam=Ipam("host-local", (Range("198.51.100.0/24"),))),
        "host-local counts on each node",
    ),
    (Attachment("a", "sriov", resource="intel.com/net"), "need the plug-in sriov"),
    (replace(MACVLAN, ipam=Ipam("dhcp")), "dhcp daemon"),
    (Attachment("a", "host-device", device="eth7"), "eth7 is not on"),
]


@pytest.mark.parametrize(("attachment", "words"), TOLD)
def test_what_is_told(lab: ClusterSpec, attachment: Attachment, words: str) -> None:
    spec, said = with_attachments(lab, attachment), list[Event]()
    check_attachments(spec, facts(spec, {"eth1": ("mtu 1500",)}), said.append)
    (note,) = said
    assert isinstance(note, Note)
    assert note.message.startswith("attachment default/a: ")
    assert words in note.message


@pytest.mark.parametrize("variant", ["thin", "thick"])
def test_the_playbook_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    """Behind the pods' own network, with its image in the registry, and its file before the default network's."""
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    text = LAB.read_text(encoding="utf-8")
    wanted = f"multus: {{variant: {variant}}}, attachments: [{{name: a, type: macvlan, master: eth1}}]"
    path = tmp_path / "inventory.yaml"
    indented = wanted.replace(", attachments", "\n        attachments")
    path.write_text(text.replace("network:\n", f"network:\n        {indented}\n", 1), encoding="utf-8")
    loaded = load(Request(path))
    assert loaded.spec is not None
    assert "macvlan" in loaded.kernel_modules
    prepared = compile_with(loaded, facts(loaded.spec, {"eth1": ("mtu 1500",)}), silent, for_show=True)
    stages = {each.name: each for each in prepared.desired}
    names = list(stages)
    assert names.index("network") < names.index("attachments") < names.index("addons")
    (manifest,) = stages["attachments"].hosts["cp1"]
    assert f"{multus.DAEMONS}" in manifest.desired.attrs  # type: ignore[union-attr]
    assert "NetworkAttachmentDefinition default/a" in manifest.desired.attrs  # type: ignore[union-attr]
    (displaced,) = [each for each in stages["containerd"].hosts["worker1"] if each.kind == "displaced_paths"]
    assert displaced.spec["first"] == "10-flannel.conflist"
    assert displaced.spec["but"] == {"00-multus.conf", "00-multus.conflist"}
    pushed = [each.name for each in stages["images"].hosts["registry1"]]
    tag = "v1-thick" if variant == "thick" else "v1"
    assert [each for each in pushed if "multus" in each] == [f"example.org/multus:{tag}"]
