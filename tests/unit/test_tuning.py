"""Tuning: what is known of it has sources, hosts get what they can have, and MTUs that do not fit are refused."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined
from test_preflight import GOOD

from provisioner.action.kinds import base_modules
from provisioner.action.tuning import FEATURE, HostTuning, check_tuning, tuning_of, why_broken
from provisioner.engine.events import Event, Note
from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.inventory.patterns import match
from provisioner.network.mtu import link_of, mtu_misfits, overhead_of, pod_mtu
from provisioner.playbook.compile import Compiler
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.playbook.load import load_playbook, shipped
from provisioner.resources.sysctl import setting_path
from provisioner.spec.kernelnames import check_parts, check_setting, check_value, dotted
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec
from provisioner.spec.rules.tuning import _OURS
from provisioner.spec.tuning import Link, Tuning, known

ROOT = Path(__file__).parents[2]
BASE = (ROOT / "tests" / "data" / "spec" / "base.yaml").read_text()
BACKLOG = "/proc/sys/net/core/netdev_max_backlog"


def load(
    folder: Path, network: str = "", cluster: str = "", worker1: str = ""
) -> tuple[Inventory, ClusterSpec]:
    """The inventory of the spec's tests with more in it."""
    text = BASE.replace("      network:\n", f"      network:\n        {network}\n") if network else BASE
    text = text.replace("      name: lab\n", f"      name: lab\n      {cluster}\n") if cluster else text
    text = text.replace("worker1: {", f"worker1: {{{worker1}, ") if worker1 else text
    path = folder / "inventory.yaml"
    path.write_text(text)
    return load_cluster(path)


def facts(**more: Any) -> Facts:
    """Of a host with one card of 1500 bytes, and what pods have brought."""
    links = {"lo": 65536, "eth0": 1500, "flannel.1": 1450, "cni0": 1450}
    return Facts(**{**GOOD, "mtus": links, "drivers": {"eth0": "ixgbe"}, **more})


def nodes(spec: ClusterSpec, **more: Any) -> dict[str, Facts]:
    found = {}
    for name, node in spec.nodes.items():
        own = {"addresses": {"eth0": (f"{node.address}/24",)}, **more.get(name, more.get("every", {}))}
        found[name] = facts(**own)
    return found


# What is known


def test_each_profile_has_its_source_and_sets_what_nobody_else_does() -> None:
    for name, profile in known()["profiles"].items():
        assert len(profile["source"]) > 20, name
        for key in profile["sysctls"]:
            assert key.startswith("net.")
            assert key not in _OURS
            assert "conntrack_max" not in key
            assert not key.endswith("rp_filter")
    offload = known()["vxlan_checksum_offload"]
    assert offload["broken_before"]["source"]
    assert all(offload["broken_drivers"].values())


def test_profiles_go_together() -> None:
    seen: dict[str, Any] = {}
    for profile in known()["profiles"].values():
        for key, value in profile["sysctls"].items():
            assert seen.setdefault(key, value) == value, key


def test_what_every_node_has_is_what_the_playbook_sets() -> None:
    book = yaml.safe_load((shipped("playbooks") / "nodes.yaml").read_text())
    values = [task["sysctl"]["values"] for stage in book for task in stage["tasks"] if "sysctl" in task]
    assert {key for each in values for key in each} == set(_OURS)


def test_the_specs_own_settings_win() -> None:
    tuning = Tuning(
        ("network-throughput", "many-connections"),
        MappingProxyType({"net.core.rmem_max": "7", "net.a.b": "1 2"}),
    )
    assert tuning.settings["net.core.rmem_max"] == "7"
    assert tuning.settings["net.core.wmem_max"] == "16777216"
    assert tuning.settings["net.a.b"] == "1 2"
    assert tuning.connections == 1048576
    assert replace(tuning, conntrack_max=5000).connections == 5000
    assert Tuning().settings == {}
    assert Tuning().connections is None


def test_a_setting_with_slashes_is_the_one_with_dots(tmp_path: Path) -> None:
    settings = "{net/core/rmem_max: 7, net/ipv4/conf/eth0.7/rp_filter: 2}"
    _, spec = load(tmp_path, cluster=f"tuning: {{profiles: [network-throughput], sysctls: {settings}}}")
    assert dict(spec.tuning.sysctls) == {"net.core.rmem_max": "7", "net.ipv4.conf.eth0/7.rp_filter": "2"}
    assert spec.tuning.settings["net.core.rmem_max"] == "7"


def test_the_profiles_settings_are_known_with_such_values() -> None:
    for profile in known()["profiles"].values():
        for key, value in profile["sysctls"].items():
            check_setting(key)
            check_value(key, value)


@pytest.mark.parametrize("folder", ["core", "ipv4", "ipv6", "netfilter", "unix"])
def test_no_setting_of_this_machines_kernel_is_taken_for_a_slip(folder: str) -> None:
    """The names in kernel.yaml are enough: of a newer kernel none may be so near to an older name."""
    root = Path("/proc/sys/net") / folder
    for path in root.rglob("*"):
        if path.is_file():
            own = path.relative_to("/proc/sys")
            name = ".".join(part.replace(".", "/") for part in own.parts)
            check_setting(name)
            check_parts(name)
            assert dotted(str(own)) == dotted(name) == name
            assert setting_path(name) == setting_path(str(own)) == str(path)


# What hosts get


def test_a_host_without_a_word_about_it_is_left_alone(tmp_path: Path) -> None:
    inventory, spec = load(tmp_path)
    assert not spec.tuning.asked
    said: list[Event] = []
    found = nodes(spec, every={"kernel": "4.19.0", "drivers": {"eth0": "vmxnet3"}})
    check_tuning(spec, found, inventory, said.append)
    assert said == []
    for name in found:
        assert tuning_of(spec, name, found[name], inventory) == HostTuning(MappingProxyType({}))


def test_links_are_found_by_name_and_by_driver(tmp_path: Path) -> None:
    links = "links: [{name: eth9, rings: {rx: 4}}, {driver: ixgbe, channels: {combined: 2}, offloads: {rx-all: false}}]"
    inventory, spec = load(tmp_path, cluster=f"tuning: {{{links}}}")
    more = {"mtus": {"lo": 65536, "eth0": 1500, "eth9": 1500}}
    found = nodes(spec, worker1=more)
    check_tuning(spec, found, inventory, lambda _: None)
    by_driver = {"link": "eth0", "channels": {"combined": 2}, "offloads": {"rx-all": False}}
    assert tuning_of(spec, "worker1", found["worker1"], inventory).links == (
        {"link": "eth9", "rings": {"rx": 4}},
        by_driver,
    )
    assert tuning_of(spec, "worker2", found["worker2"], inventory).links == (by_driver,)
    assert tuning_of(spec, "registry1", found["registry1"], inventory).links == (), "it is no node"


@pytest.mark.parametrize("link", [Link(name="eht0"), Link(driver="ixgeb")])
def test_a_link_that_no_node_has_is_a_slip(tmp_path: Path, link: Link) -> None:
    inventory, spec = load(tmp_path)
    spec = replace(spec, tuning=Tuning(links=(link,)))
    with pytest.raises(
        ProvisionError, match=r"no node has a link (called eht0|with the driver ixgeb)"
    ) as caught:
        check_tuning(spec, nodes(spec), inventory, lambda _: None)
    assert "eth0 (ixgbe)" in caught.value.hint


def test_what_is_the_machines_is_told_and_left_out(tmp_path: Path) -> None:
    """A lab host: its network is a namespace's, and the table of connections is the machine's."""
    tuning = "tuning: {profiles: [many-nodes, many-connections], sysctls: {net.core.netdev_max_backlog: 5}}"
    inventory, spec = load(tmp_path, cluster=tuning, worker1="kube_proxy_conntrack_max_per_core: 0")
    missing = [setting_path(key) for key in spec.tuning.settings if "gc_thresh" in key]
    lab = {"unsettable": (BACKLOG, *missing), "contained": True}
    found = nodes(spec, worker1=lab)
    said: list[Event] = []
    check_tuning(spec, found, inventory, said.append)
    told = [each.message for each in said if isinstance(each, Note)]
    assert told[0].startswith(
        "worker1: not tuned, they are the machine's: net.ipv4.neigh.default.gc_thresh1, "
    )
    assert "net.core.netdev_max_backlog" in told[0]
    assert told[1].startswith("worker1: the table of connections keeps its size")
    assert len(told) == 2
    own = tuning_of(spec, "worker1", found["worker1"], inventory)
    assert own.sysctls == {"net.core.somaxconn": "4096"}
    assert own.connections == 0
    other = tuning_of(spec, "worker2", found["worker2"], inventory)
    assert len(other.sysctls) == 8
    assert other.connections == 1048576


def test_a_setting_that_a_machine_does_not_have_is_a_slip_where_the_spec_names_it(tmp_path: Path) -> None:
    inventory, spec = load(
        tmp_path, cluster="tuning: {profiles: [network-latency], sysctls: {net.core.nosuch: 1}}"
    )
    lacking = {"unsettable": ("/proc/sys/net/core/busy_poll",)}
    said: list[Event] = []
    check_tuning(spec, nodes(spec, worker1=lacking), inventory, said.append)
    assert [each.message for each in said if isinstance(each, Note)] == [
        "worker1: not tuned, the kernel has none: net.core.busy_poll"
    ]
    lacking = {"unsettable": ("/proc/sys/net/core/nosuch",)}
    with pytest.raises(ProvisionError, match=r"the kernel of worker1 has no setting net\.core\.nosuch"):
        check_tuning(spec, nodes(spec, worker1=lacking), inventory, lambda _: None)


CALICO = "plugin: calico"
CILIUM = "plugin: cilium"
BONDED: dict[str, Any] = {
    "addresses": {"bond0.7": ("10.98.0.21/24",)},
    "lowers": {"bond0.7": ("bond0",), "bond0": ("eth0", "eth1")},
    "drivers": {"eth0": "ixgbe", "eth1": "vmxnet3"},
}
"""VLAN 7 of a bond of two links."""
BROKEN: list[tuple[str, str, dict[str, Any], bool]] = [
    ("auto", "", {"kernel": "5.6.19"}, True),
    ("auto", "", {"kernel": "4.18.0-553.el8"}, True),
    ("auto", "", {"kernel": "5.7.0"}, False),
    ("auto", "", {"kernel": "6.1.0"}, False),
    ("auto", "", {"drivers": {"eth0": "vmxnet3"}}, True),
    ("auto", "", {"drivers": {"eth1": "vmxnet3"}}, False),
    ("auto", "", BONDED, True),
    ("auto", CALICO, {**BONDED, "lowers": {"bond0.7": ("bond0",), "bond0": ("eth0",)}}, False),
    ("auto", "", {**BONDED, "lowers": {"eth3": ("eth1",)}}, False),
    (
        "auto",
        "",
        {**BONDED, "lowers": {"bond0.7": ("bond0",), "bond0": ("bond0.7",)}},
        False,
    ),  # no kernel has that
    ("auto", CALICO, {"kernel": "5.6.19"}, False),  # Felix sees to it
    ("auto", CALICO, {"drivers": {"eth0": "vmxnet3"}}, True),
    ("disabled", "", {}, True),
    ("disabled", CALICO, {}, True),
]


@pytest.mark.parametrize(("wanted", "network", "host", "off"), BROKEN)
def test_checksums_are_off_only_where_that_is_asked_for_and_needed(
    tmp_path: Path, wanted: str, network: str, host: dict[str, Any], off: bool
) -> None:
    inventory, spec = load(tmp_path, network, f"tuning: {{vxlan_checksum_offload: {wanted}}}")
    found = nodes(spec, worker1=host)
    device = "vxlan.calico" if network else "flannel.1"
    tunnel = tuning_of(spec, "worker1", found["worker1"], inventory).tunnel
    assert tunnel == (({"link": device, "offloads": {FEATURE: False}},) if off else ())
    assert bool(why_broken(spec, "worker1", found["worker1"])) is (off and wanted == "auto")


def test_the_tunnels_of_both_families(tmp_path: Path) -> None:
    inventory, spec = load(tmp_path, "flannel: {vni: 7}", "tuning: {vxlan_checksum_offload: disabled}")
    both = replace(spec, network=replace(spec.network, pod_cidrs=("10.244.0.0/16", "fd00::/56")))
    tunnel = tuning_of(both, "worker1", facts(), inventory).tunnel
    assert [each["link"] for each in tunnel] == ["flannel.7", "flannel-v6.7"]


@pytest.mark.parametrize(("mode", "devices"), [("{}", ["cilium_vxlan"]), ("{tunnel_protocol: geneve}", [])])
def test_the_tunnel_of_cilium(tmp_path: Path, mode: str, devices: list[str]) -> None:
    tuning = "tuning: {vxlan_checksum_offload: disabled}" if devices else ""
    inventory, spec = load(tmp_path, f"{CILIUM}\n        cilium: {mode}", tuning)
    tunnel = tuning_of(spec, "worker1", facts(), inventory).tunnel
    assert [each["link"] for each in tunnel] == devices


@pytest.mark.parametrize(("connections", "wanted"), [(0, (32768, 131072)), (500000, (1, 500000))])
def test_kube_proxy_is_told_the_size(connections: int, wanted: tuple[int, int]) -> None:
    """It takes the larger of both (cmd/kube-proxy/app/server_linux.go: getConntrackMax)."""
    text = (shipped("templates") / "kube-proxy" / "config.yaml.j2").read_text()
    _, spec = load_cluster(ROOT / "inventories" / "lab.yaml")
    tuning = HostTuning(MappingProxyType({}), connections=connections)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701 — YAML
    said = environment.from_string(text).render(cluster=spec, inventory_hostname="a", tuning=tuning)
    conntrack = yaml.safe_load(said)["conntrack"]
    assert (conntrack["maxPerCore"], conntrack["min"]) == wanted


# Facts


def test_facts_of_links_and_settings(tmp_path: Path) -> None:
    """This machine's own."""
    missing = "/proc/sys/net/core/no_such_setting"
    text = facts_script(settings=[missing, "/proc/sys/net/core/somaxconn", "/proc/sys/kernel/version"]).main
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=True)
    if b"\n=init\nsystemd" not in done.stdout:
        done.stdout = done.stdout.replace(b"\n=init\n", b"\n=init\nsystemd\n=was\n", 1)
    found = parse_facts("a", done.stdout, 1.0)
    assert found.mtus["lo"] >= 16436
    assert missing in found.unsettable
    assert "/proc/sys/kernel/version" in found.unsettable
    assert found.contained is not Path(BACKLOG).exists()
    for link, driver in found.drivers.items():
        assert Path(f"/sys/class/net/{link}/device/driver").resolve().name == driver


def test_links_below_others_are_found(tmp_path: Path) -> None:
    """A pod's is passed over: a bridge may have hundreds."""
    for path in ("bond0/lower_eth0", "bond0/lower_eth1", "eth1.7/lower_eth1", "cni0/lower_veth1", "lo/mtu"):
        (tmp_path / path).mkdir(parents=True)
    text = facts_script(settings=[]).main.replace("/sys/class/net", str(tmp_path))
    for shell in (["dash"], ["busybox", "sh"]):
        done = subprocess.run([*shell, "-c", text], capture_output=True, check=True)
        said = done.stdout.replace(b"\n=init\n", b"\n=init\nsystemd\n=was\n", 1)
        found = parse_facts("a", said, 1.0)
        assert found.lowers == {"bond0": ("eth0", "eth1"), "eth1.7": ("eth1",)}


def test_a_link_in_a_pair_has_its_name_alone(tmp_path: Path) -> None:
    line = "7: eth0@if8: <BROADCAST,UP> mtu 1400 qdisc noqueue state UP mode DEFAULT group default qlen 1000"
    done = subprocess.run(["sh", "-c", facts_script().main], capture_output=True, check=True)
    head, _, rest = done.stdout.decode().partition("\n=links\n")
    text = (
        f"{head}\n=links\n{line}\n=rp_filter\n=iptables\n=init\nsystemd\n=tools{rest.partition('=tools')[2]}"
    )
    assert parse_facts("a", text.encode(), 1.0).mtus == {"eth0": 1400}
    assert parse_facts("a", text.encode(), 1.0).unsettable == ()


# MTU

NINE = {"mtus": {"lo": 65536, "eth0": 9000}}
SMALL = {"mtus": {"lo": 65536, "eth0": 1400}}
BOND = {"mtus": {"lo": 65536, "bond0": 1400}, "default_link": "bond0"}
OVERHEADS = [
    ("", 50),
    ("flannel: {backend: host-gw}", 0),
    ("flannel: {backend: wireguard}", 80),
    ("flannel: {backend: ipip}", 20),
    ("flannel: {backend: udp}", 28),
    (CALICO, 50),
    (f"{CALICO}\n        calico: {{encapsulation: IPIPCrossSubnet}}", 20),
    (f"{CALICO}\n        calico: {{encapsulation: None}}", 0),
    (f"{CALICO}\n        calico: {{encapsulation: None, wireguard: true}}", 60),
    (CILIUM, 50),
    (f"{CILIUM}\n        cilium: {{tunnel_protocol: geneve, wireguard: true}}", 130),
    (f"{CILIUM}\n        cilium: {{routing_mode: native}}", 0),
]


@pytest.mark.parametrize(("network", "overhead"), OVERHEADS)
def test_what_a_mode_adds(tmp_path: Path, network: str, overhead: int) -> None:
    _, spec = load(tmp_path, network)
    assert overhead_of(spec) == overhead
    found = nodes(spec)
    assert pod_mtu(spec, found["worker1"], "eth0") == 1500 - overhead
    assert list(mtu_misfits(spec, found)) == []


FITS: list[tuple[str, dict[str, Any], str, str]] = [
    # flannel's is the hosts' MTU, Calico's that of pods.
    ("flannel: {mtu: 1500}", {}, "", ""),
    ("flannel: {mtu: 1450}", {}, "", ""),
    (
        "flannel: {mtu: 9000}",
        {},
        "worker1: pods would have the MTU 8950, the network adds 50, and its link eth0 carries 1500",
        "set network.flannel.mtu: 1500, or give all links between nodes the MTU 9000",
    ),
    (
        "flannel: {mtu: 1500}",
        SMALL,
        "worker1: pods would have the MTU 1450, the network adds 50",
        "mtu: 1400,",
    ),
    (f"{CALICO}\n        calico: {{mtu: 1450}}", {}, "", ""),
    (
        f"{CALICO}\n        calico: {{mtu: 1500}}",
        {},
        "worker1: pods would have the MTU 1500, the network adds 50, and its link eth0 carries 1500",
        "set network.calico.mtu: 1450,",
    ),
    (f"{CALICO}\n        calico: {{mtu: 8950}}", NINE, "", ""),
    (f"{CILIUM}\n        cilium: {{mtu: 1500}}", {}, "", ""),
    (
        f"{CILIUM}\n        cilium: {{mtu: 9000}}",
        {},
        "worker1: pods would have the MTU 8950, the network adds 50, and its link eth0 carries 1500",
        "set network.cilium.mtu: 1500,",
    ),
    # Felix does not look at bonds, and takes 1460 for what hosts have.
    (
        CALICO,
        BOND,
        "worker1: pods would have the MTU 1410, the network adds 50, and its link bond0",
        "calico.mtu: 1350",
    ),
    (f"{CALICO}\n        calico: {{mtu: 1350}}", BOND, "", ""),
]


@pytest.mark.parametrize(("network", "host", "reason", "hint"), FITS)
def test_an_mtu_that_does_not_fit_is_refused_with_the_one_that_does(
    tmp_path: Path, network: str, host: dict[str, Any], reason: str, hint: str
) -> None:
    inventory, spec = load(tmp_path, network)
    own = {name: dict(host) for name in ("cp1", "worker1", "worker2")}
    for name, each in own.items():
        if "default_link" in each:
            each["addresses"] = {each["default_link"]: (f"{spec.nodes[name].address}/24",)}
    found = nodes(spec, **own)
    if not reason:
        check_tuning(spec, found, inventory, lambda event: pytest.fail(str(event)))
        return
    with pytest.raises(ProvisionError) as caught:
        check_tuning(spec, found, inventory, lambda _: None)
    assert reason in caught.value.reason
    assert hint in caught.value.hint
    assert "registry1" not in caught.value.reason


def test_nodes_of_different_mtus_are_told_of(tmp_path: Path) -> None:
    inventory, spec = load(tmp_path)
    said: list[Event] = []
    check_tuning(spec, nodes(spec, worker2=NINE), inventory, said.append)
    (note,) = said
    assert isinstance(note, Note)
    assert note.message == (
        "pods' MTU is 8950 on worker2 and 1450 on cp1: large datagrams between them are lost"
    )
    assert "network.flannel.mtu: 1500" in note.hint


def test_ipv6_needs_its_least(tmp_path: Path) -> None:
    _, spec = load(tmp_path, "flannel: {mtu: 1300}")
    both = replace(spec, network=replace(spec.network, pod_cidrs=("10.244.0.0/16", "fd00::/56")))
    reasons = [each.reason for each in mtu_misfits(both, nodes(spec))]
    assert reasons[0] == "cp1: pods would have the MTU 1230, and IPv6 needs 1280"
    assert list(mtu_misfits(spec, nodes(spec))) == []


@pytest.mark.parametrize(
    ("section", "mtu"),
    [
        ("{encapsulation: VXLAN}", 1450),
        ("{felix: {mtuIfacePattern: '^bond'}}", 8950),
        ("{felix: {mtuIfacePattern: ond}}", 8950),
        ("{env: {FELIX_MTUIFACEPATTERN: '^(bond|dummy)[[:digit:]]$'}}", 1350),
        ("{felix: {mtuIfacePattern: wlan}}", 1410),
        ("{felix: {mtuIfacePattern: ''}}", 1450),
    ],
)
def test_felix_looks_at_the_links_of_the_specs_pattern(tmp_path: Path, section: str, mtu: int) -> None:
    _, spec = load(tmp_path, f"{CALICO}\n        calico: {section}")
    links = {"mtus": {"lo": 65536, "eth0": 1500, "bond0": 9000, "dummy0": 1400}}
    assert pod_mtu(spec, facts(**links), "bond0") == mtu


def test_felix_passes_over_links_that_carry_nothing(tmp_path: Path) -> None:
    _, spec = load(tmp_path, CALICO)
    links: dict[str, Any] = {"mtus": {"eth0": 9000, "eth1": 1500}, "idle_links": ("eth1",)}
    assert pod_mtu(spec, facts(**links), "eth0") == 8950


LINKS = {
    "mtus": {"lo": 1, "eth0": 1500, "eth1": 9000},
    "addresses": {"eth1": ("10.98.0.21/24",), "eth0": ("10.0.0.5/8",)},
}


@pytest.mark.parametrize(
    ("network", "link"),
    [
        ("", "eth1"),  # that of the node's address
        ("flannel: {interface: eth1}", "eth1"),
        ("flannel: {interface_regex: '^eth[1-9]'}", "eth1"),
        (r"flannel: {interface_regex: '^10\.98\.'}", "eth1"),
        ("flannel: {interface_regex: '^wlan'}", ""),
        ("flannel: {can_reach: 10.98.0.1}", "eth1"),
        (CALICO, "eth1"),
        (CILIUM, "eth1"),
    ],
)
def test_the_link_between_nodes(tmp_path: Path, network: str, link: str) -> None:
    _, spec = load(tmp_path, network)
    assert link_of(spec, "worker1", facts(**LINKS)) == link


@pytest.mark.parametrize("book", ["tuning", "tunnel"])
def test_the_playbooks_take_what_hosts_get(tmp_path: Path, book: str) -> None:
    wanted = (
        "{profiles: [many-nodes], links: [{driver: ixgbe, rings: {rx: 4}}], vxlan_checksum_offload: disabled}"
    )
    inventory, spec = load(tmp_path, cluster=f"tuning: {wanted}")
    modules = base_modules()
    playbook = load_playbook(shipped("playbooks") / f"{book}.yaml", set(modules))
    compiler = Compiler(playbook, modules)
    stages = [each for each in playbook.stages if each.name != "links of control planes"]

    def names(tuning: HostTuning) -> set[str]:
        variables = {"tuning": tuning}
        return {each.id for stage in stages for each in compiler.stage(stage, "worker1", variables)}

    found = names(tuning_of(spec, "worker1", facts(), inventory))
    assert names(tuning_of(spec, "registry1", facts(), inventory)) == set()
    if book == "tunnel":
        rules = "file:/etc/udev/rules.d/90-provision-tunnel.rules"
        folders = {"file:/etc/udev", "file:/etc/udev/rules.d"}
        assert found == {*folders, rules, f"ethtool:flannel.1 offloads {FEATURE}"}
    else:
        assert {"ethtool:eth0 rings rx", "sysctl:net.ipv6.neigh.default.gc_thresh3"} < found
        assert len(found) == 11


def test_links_of_one_member_of_etcd_are_set_at_a_time() -> None:
    """A driver may take a link down for it."""
    modules = base_modules()
    playbook = load_playbook(shipped("playbooks") / "tuning.yaml", set(modules))
    inventory = load_cluster(ROOT / "inventories/ha.yaml")[0]
    tuned = {"tuning": HostTuning({}, ({"link": "eth0", "rings": {"rx": 4}},))}
    compiler = Compiler(playbook, modules)
    found = {
        stage.serial: match(stage.hosts, list(inventory.hosts), inventory.groups)
        for stage in playbook.stages
        if any(each.kind == "ethtool" for each in compiler.stage(stage, "cp1", tuned))
    }
    assert found.keys() == {(1,), (1, 5)}
    assert set(found[(1,)]) == {"cp1", "cp2", "cp3"}
    assert found[(1, 5)] == tuple(name for name in inventory.groups["kube_node"] if name not in found[(1,)])
