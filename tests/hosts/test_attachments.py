"""The CNI plug-ins of the bundle, run with exactly what is rendered for a NetworkAttachmentDefinition, carry packets.

In throw-away network namespaces. What this kernel lacks is refused by the plug-in itself, and that is asked, too.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Wires, rendered

from provisioner.bundle.layout import Bundle, default_bundle_path
from provisioner.spec.attachments import Attachment, Ipam, Range, Route, StaticAddress

ADDRESSES = Ipam("host-local", (Range("192.0.2.0/24", "192.0.2.10", "192.0.2.19", "192.0.2.254"),))


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cni")
    with tarfile.open(Bundle.open(default_bundle_path()).artifact("cni-plugins").path) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def shared(plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    made = Wires("att", tmp_path_factory.mktemp("shared"), plugins)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def wires(shared: Wires) -> Iterator[Wires]:
    yield shared
    shared.without_pods()


@pytest.fixture
def own_wires(plugins: Path, tmp_path: Path) -> Iterator[Wires]:
    """For a test that takes the host's link away."""
    made = Wires("own", tmp_path, plugins)
    try:
        yield made
    finally:
        made.close()


def macvlan(mode: str, mtu: int | None = None) -> dict[str, object]:
    return rendered(Attachment(mode, "macvlan", master="eth1", mode=mode, mtu=mtu, ipam=ADDRESSES))


@pytest.mark.parametrize(
    ("mode", "straight", "reflected"),
    [("bridge", True, True), ("private", False, False), ("vepa", False, True)],
)
def test_pods_on_macvlan_reach_each_other_as_the_mode_has_it(
    wires: Wires, mode: str, straight: bool, reflected: bool
) -> None:
    """`reflected`: with a switch that sends frames back by their own port."""
    config = macvlan(mode, mtu=1400)
    answers = {pod: wires.attach(pod, config) for pod in ("one", "two")}
    assert [each["ips"][0]["address"] for each in answers.values()] == ["192.0.2.10/24", "192.0.2.11/24"]
    shown = wires.must("one", "ip -o -d link show net1")
    assert f"macvlan mode {mode}" in shown
    assert "mtu 1400" in shown
    assert all(wires.comes_to_reach(pod, "192.0.2.254") for pod in answers), "the network beyond the host"
    for hairpin, expected in ((False, straight), (True, reflected)):
        wires.hairpin(on=hairpin)
        assert (wires.comes_to_reach if expected else wires.reaches)("one", "192.0.2.11") is expected
    for pod, answer in answers.items():
        wires.detach(pod, config, answer)


def test_macvlan_passthru_is_for_one_pod(wires: Wires) -> None:
    config = macvlan("passthru")
    answer = wires.attach("one", config)
    assert wires.comes_to_reach("one", "192.0.2.254")
    well, said = wires.call("ADD", "two", config)
    assert not well, "the rules refuse what the kernel refuses"
    assert "invalid argument" in said["msg"]
    wires.detach("one", config, answer)
    wires.detach("one", config, wires.attach("one", config))


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_ipvlan(wires: Wires, mode: str) -> None:
    config = rendered(Attachment("a", "ipvlan", master="eth1", mode=mode, ipam=ADDRESSES))
    if not wires.has("ip link add a type veth peer name b && ip link add c link a type ipvlan"):
        well, said = wires.call("ADD", "one", config)
        assert not well
        assert "failed to create ipvlan: operation not supported" in said["msg"]
        return
    answers = {pod: wires.attach(pod, config) for pod in ("one", "two")}
    assert wires.comes_to_reach("one", "192.0.2.11")
    # Nobody answers ARP for a pod in the mode l3: others are reached by routes.
    assert wires.reaches("one", "192.0.2.254") is (mode == "l2")
    for pod, answer in answers.items():
        wires.detach(pod, config, answer)


def test_bridge_with_a_gateway_and_a_route(wires: Wires) -> None:
    ipam = Ipam(
        "host-local", (Range("198.51.100.0/24"), Range("fd00:51::/64")), routes=(Route("203.0.113.0/24"),)
    )
    attached = Attachment("b", "bridge", bridge="br-storage", is_gateway=True, mtu=1450, ipam=ipam)
    config = rendered(attached)
    answers = {pod: wires.attach(pod, config) for pod in ("one", "two")}
    assert [each["address"] for each in answers["one"]["ips"]] == ["198.51.100.2/24", "fd00:51::2/64"]
    assert "198.51.100.1/24" in wires.must("host", "ip -o address show br-storage")
    assert all(wires.comes_to_reach(pod, "198.51.100.1") for pod in answers)
    assert wires.reaches("one", "198.51.100.3")
    assert "mtu 1450" in wires.must("one", "ip -o link show net1")
    assert "203.0.113.0/24 via 198.51.100.1" in wires.must("one", "ip route show")
    for pod, answer in answers.items():
        wires.detach(pod, config, answer)


def test_vlans_of_a_bridge_are_apart(wires: Wires) -> None:
    def on(vlan: int) -> dict[str, object]:
        return rendered(Attachment(f"v{vlan}", "bridge", bridge="br1", vlan=vlan, ipam=static(vlan)))

    def static(last: int) -> Ipam:
        return Ipam("static", addresses=(StaticAddress(f"192.0.2.{last}/24"),))

    if not wires.has("ip link add a type bridge vlan_filtering 1"):
        well, said = wires.call("ADD", "one", on(20))
        assert not well
        assert "not supported" in said["msg"]
        return
    wires.attach("one", on(20))
    wires.attach("two", on(30))
    assert not wires.reaches("one", "192.0.2.30")


def test_a_device_of_the_host_moves_into_the_pod_and_back(own_wires: Wires) -> None:
    config = rendered(Attachment("d", "host-device", device="eth1", ipam=ADDRESSES))
    answer = own_wires.attach("one", config)
    assert own_wires.comes_to_reach("one", "192.0.2.254")
    assert "eth1" not in own_wires.must("host", "ip -o link show")
    own_wires.detach("one", config, answer, times=1)  # plugins 1.9: a second DEL finds no link and says so
    assert "eth1" in own_wires.must("host", "ip -o link show"), "under the name that it had"


def test_without_ipam_there_is_a_link_and_no_address(wires: Wires) -> None:
    config = rendered(Attachment("n", "macvlan", master="eth1", mode="bridge"))
    answer = wires.attach("one", config)
    assert answer.get("ips") is None
    wires.must("one", "ip address add 192.0.2.99/24 dev net1")
    assert wires.comes_to_reach("one", "192.0.2.254")
    wires.detach("one", config, answer)


def test_a_pod_names_its_address(wires: Wires) -> None:
    """A runtime adds what the pod's annotation says to a plug-in with the capability `ips`."""
    config = rendered(Attachment("s", "macvlan", master="eth1", mode="bridge", ipam=Ipam("static")))
    assert config["capabilities"] == {"ips": True}
    chosen = {**config, "runtimeConfig": {"ips": ["192.0.2.77/24"]}}
    answer = wires.attach("one", chosen)
    assert answer["ips"][0]["address"] == "192.0.2.77/24"
    assert wires.comes_to_reach("one", "192.0.2.254")


def test_what_facts_refuse_the_kernel_or_the_plug_in_refuses(own_wires: Wires) -> None:
    """A master that is a bridge's port, one whose MTU is smaller, one that is not there: each as facts see it."""
    assert own_wires.links("eth1", "eth2") == {"eth1": ("mtu 1500",)}
    assert "invalid MTU" in own_wires.call("ADD", "one", macvlan("bridge", mtu=9000))[1]["msg"]
    own_wires.must("host", "ip link add br1 type bridge && ip link set eth1 master br1")
    assert own_wires.links("br1", "eth1") == {
        "br1": ("mtu 1500", "bridge"),
        "eth1": ("mtu 1500", "part of br1"),
    }
    assert "busy" in own_wires.call("ADD", "one", macvlan("bridge"))[1]["msg"]
    bridge = rendered(Attachment("b", "bridge", bridge="eth1", ipam=ADDRESSES))
    assert "is not a bridge" in own_wires.call("ADD", "one", bridge)[1]["msg"]
    own_wires.must("host", "ip link del br1 && ip link set eth1 name eth9")
    assert own_wires.links("eth1") == {}
    well, said = own_wires.call("ADD", "one", macvlan("bridge"))
    assert not well
    assert "not found" in said["msg"]
