"""Pods with an address of each IP family: every part is told of both, and each node has an address of the second."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from paperbundle import paper_bundle

import provisioner.action.load as loading
from provisioner.action.families import check_autodetection, check_families, node_addresses
from provisioner.cli.main import cli
from provisioner.errors import ProvisionError
from provisioner.network.autodetect import found_by
from provisioner.network.links import left_alone
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsfile import write_facts
from provisioner.spec.calico import Calico, IPPool
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Proxy

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
BOTH = "pod_cidrs: [10.244.0.0/16, 'fd00:244::/56']\n        service_cidrs: [10.96.0.0/16, 'fd00:96::/112']\n"
HOST = {"registry1": 10, "cp1": 11, "worker1": 21, "worker2": 22}


def facts(*more: str, network_manager: bool = False) -> dict[str, Facts]:
    bare = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 4 << 20, {}, "eth0")
    bare = replace(bare, network_manager=network_manager, modules=("vxlan",))
    spec = load_cluster(LAB)[1]
    return {
        name: replace(
            bare,
            addresses={"eth0": (f"{node.address}/24", "fe80::1/64", *(each % HOST[name] for each in more))},
        )
        for name, node in spec.nodes.items()
    }


@pytest.fixture
def both(tmp_path: Path) -> Path:
    lines = [line for line in LAB.read_text().splitlines(keepends=True) if "_cidrs:" not in line]
    at = next(number for number, line in enumerate(lines) if line.strip() == "network:")
    path = tmp_path / "inventory.yaml"
    path.write_text("".join([*lines[: at + 1], f"        {BOTH}", *lines[at + 1 :]]))
    return path


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, dict[str, Facts]], Path]:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))

    def rendered(inventory: Path, known: dict[str, Facts]) -> Path:
        write_facts(tmp_path / "facts", known)
        argv = ["render", str(inventory), "--facts", str(tmp_path / "facts"), "-o", str(tmp_path / "out")]
        done = CliRunner().invoke(cli, argv, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return tmp_path / "out"

    return rendered


def test_every_part_is_told_of_both(both: Path, render: Callable[[Path, dict[str, Facts]], Path]) -> None:
    out = render(both, facts("fd00:98::%d/64"))
    units = out / "cp1" / "etc/systemd/system"
    pods, services = "10.244.0.0/16,fd00:244::/56", "10.96.0.0/16,fd00:96::/112"
    controllers = (units / "kube-controller-manager.service").read_text()
    for word in (
        f"--cluster-cidr={pods}",
        f"--service-cluster-ip-range={services}",
        "--node-cidr-mask-size-ipv4=24",
        "--node-cidr-mask-size-ipv6=64",
    ):
        assert f"{word} \\" in controllers
    assert "--node-cidr-mask-size=" not in controllers
    assert f"--service-cluster-ip-range={services} \\" in (units / "kube-apiserver.service").read_text()
    kubelet = (out / "worker1/etc/systemd/system/kubelet.service").read_text()
    assert "--node-ip=10.98.0.21,fd00:98::21\n" in kubelet
    (proxy,) = (out / "worker1").rglob("kube-proxy.yaml")
    assert yaml.safe_load(proxy.read_text())["clusterCIDR"] == pods
    (config, *_) = yaml.safe_load_all((out / "manifests/flannel.yaml").read_text())
    net = json.loads(config["data"]["net-conf.json"])
    assert (net["EnableIPv4"], net["EnableIPv6"], net["IPv6Network"]) == (True, True, "fd00:244::/56")


def test_one_family_is_as_before(render: Callable[[Path, dict[str, Facts]], Path]) -> None:
    out = render(LAB, facts("fd00:98::%d/64"))
    assert "--node-ip=10.98.0.21\n" in (out / "worker1/etc/systemd/system/kubelet.service").read_text()
    assert not list(out.rglob("NetworkManager"))


def test_network_manager_leaves_the_pods_links_alone(
    render: Callable[[Path, dict[str, Facts]], Path],
) -> None:
    """Each needs the prefix, and what others say stays (NetworkManager.conf(5))."""
    out = render(LAB, facts(network_manager=True))
    text = (out / "worker1/etc/NetworkManager/conf.d/90-provision-pods.conf").read_text()
    section, said = [line for line in text.splitlines() if not line.startswith("#")]
    assert section == "[keyfile]"
    assert said == "unmanaged-devices+=interface-name:flannel*;interface-name:cni0;interface-name:veth*"
    assert not (out / "registry1/etc/NetworkManager").exists(), "it is no node"


@pytest.mark.parametrize(
    ("plugin", "mode", "there", "others"),
    [
        ("calico", "iptables", ("cali*", "tunl*", "vxlan.calico", "wg-v6.cali"), ("cni0", "kube-ipvs0")),
        ("canal", "iptables", ("cali*", "flannel*"), ("kube-ipvs0",)),
        ("flannel", "ipvs", ("flannel*", "kube-ipvs0"), ("cali*",)),
    ],
)
def test_links_by_plug_in(plugin: str, mode: str, there: tuple[str, ...], others: tuple[str, ...]) -> None:
    lab = load_cluster(LAB)[1]
    spec = replace(lab, network=replace(lab.network, plugin=plugin), proxy=Proxy(mode))
    said = left_alone(spec).split(";")
    assert {f"interface-name:{each}" for each in there} <= set(said)
    assert not {f"interface-name:{each}" for each in others} & set(said)


def two(spec: ClusterSpec) -> ClusterSpec:
    return replace(spec, network=replace(spec.network, pod_cidrs=("10.244.0.0/16", "fd00:244::/56")))


def test_a_node_without_one_or_with_several_is_named() -> None:
    lab = load_cluster(LAB)[1]
    check_families(lab, facts())
    check_families(two(lab), facts("fd00:98::%d/64"))
    with pytest.raises(ProvisionError) as caught:
        check_families(two(lab), facts())
    assert caught.value.reason.splitlines() == [
        f"{name}: pods have IPv6 addresses, and the node's link has none"
        for name in ("cp1", "worker1", "worker2")
    ]
    with pytest.raises(ProvisionError) as caught:
        check_families(two(lab), facts("fd00:98::%d/64", "2001:db8::%d/64"))
    assert "worker1: its link has several IPv6 addresses (fd00:98::21, 2001:db8::21)" in caught.value.reason
    assert "node_address_second" in caught.value.hint


def test_what_is_written_counts() -> None:
    lab = two(load_cluster(LAB)[1])
    node = replace(lab.nodes["worker1"], second_address="2001:db8::21")
    spec = replace(lab, nodes={**lab.nodes, "worker1": node})
    known = facts("fd00:98::%d/64", "2001:db8::%d/64")
    assert node_addresses(spec, "worker1", known["worker1"]) == ("10.98.0.21", "2001:db8::21")
    assert node_addresses(spec, "registry1", known["registry1"]) == ("10.98.0.10",)


def linked(**links: str | tuple[str, ...]) -> Facts:
    """Links in the order of their numbers."""
    (one, *_) = facts().values()
    return replace(
        one, addresses={name: (each,) if isinstance(each, str) else each for name, each in links.items()}
    )


LINKS = replace(
    linked(
        lo="127.0.0.1/8",
        mgmt0="192.0.2.21/24",
        eth1=("fe80::1/64", "10.98.0.21/24", "fd00:98::21/64"),
        docker0="172.17.0.1/16",
    ),
    towards={
        "8.8.8.8": ("mgmt0", "192.0.2.21"),
        "10.98.7.1": ("eth1", "10.98.0.21"),
        "2001:db8::1": (),
        "10.98.0.21": ("lo", "10.98.0.21"),
    },
)
"""The default route is mgmt0's, one to 10.98.0.0/16 is eth1's."""


@pytest.mark.parametrize(
    ("method", "version", "found"),
    [
        ("first-found", 4, ("eth1", "10.98.0.21")),
        ("first-found", 6, ("eth1", "fd00:98::21")),
        ("interface=mgmt", 4, ("mgmt0", "192.0.2.21")),
        ("interface=mgmt.*, eth.*", 4, ("eth1", "10.98.0.21")),
        ("interface=.*", 4, ("docker0", "172.17.0.1")),
        ("interface=mgmt", 6, None),
        ("skip-interface=eth.*", 4, ("mgmt0", "192.0.2.21")),
        ("cidr=192.0.2.0/24,198.51.100.0/24", 4, ("mgmt0", "192.0.2.21")),
        ("cidr=198.51.100.0/24", 4, None),
        ("can-reach=8.8.8.8", 4, ("mgmt0", "192.0.2.21")),
        ("can-reach=10.98.7.1", 4, ("eth1", "10.98.0.21")),
        ("can-reach=2001:db8::1", 6, None),
    ],
)
def test_which_address_calico_takes(method: str, version: int, found: tuple[str, str] | None) -> None:
    """The last link first (autodetection, GetInterfaces)."""
    told = found_by(method, LINKS, version)
    assert (told and (told[0], str(told[1]))) == found


@pytest.mark.parametrize(
    "method", ["kubernetes-internal-ip", "can-reach=203.0.113.1", "can-reach=example.com"]
)
def test_what_links_do_not_tell(method: str) -> None:
    with pytest.raises(LookupError):
        found_by(method, LINKS, 4)


@pytest.mark.parametrize("install", ["manifest", "operator"])
def test_a_link_for_logging_in_and_a_method_that_finds_nothing_are_refused(install: str) -> None:
    lab = load_cluster(LAB)[1]

    def spec(method: str) -> ClusterSpec:
        calico = Calico(install, (IPPool("pods", "10.244.0.0/16"),), autodetection=method)
        return replace(lab, network=replace(lab.network, plugin="calico", calico=calico))

    known = {"worker1": LINKS}
    for method in ("first-found", "interface=eth1", "cidr=10.98.0.0/24", "kubernetes-internal-ip"):
        check_autodetection(spec(method), known)
    with pytest.raises(ProvisionError) as caught:
        check_autodetection(spec("skip-interface=eth"), known)
    reason = "worker1: skip-interface=eth finds 192.0.2.21 on mgmt0, the others know it by 10.98.0.21"
    assert (caught.value.reason, "kubernetes-internal-ip" in caught.value.hint) == (reason, True)
    for method in ("interface=en", "cidr=198.51.100.0/24"):
        with pytest.raises(ProvisionError, match=f"worker1: {method} finds no IPv4 address"):
            check_autodetection(spec(method), known)
    with pytest.raises(ProvisionError, match=r"worker1: can-reach=8\.8\.8\.8 finds 192\.0\.2\.21 on mgmt0"):
        check_autodetection(spec("can-reach=8.8.8.8"), known)
    with pytest.raises(ProvisionError, match="worker1: can-reach=2001:db8::1 finds no IPv4 address"):
        check_autodetection(spec("can-reach=2001:db8::1"), known)
    for method in ("can-reach=10.98.7.1", "can-reach=10.98.0.21", "can-reach=gateway.example"):
        check_autodetection(spec(method), known)
    check_autodetection(spec("interface=en"), {"registry1": LINKS})
    translated = {"worker1": linked(eth0="172.31.0.5/20")}
    check_autodetection(spec("first-found"), translated)
