"""Routes between two of Calico's parts, in a network namespace of their own."""

from __future__ import annotations

import subprocess

import pytest

from provisioner.kube.bridgeroutes import bridge_script, handed_over_script, unbridge_script

BLOCKS = {"one": ["10.244.1.0/26"], "two": ["10.244.2.0/26"]}
ADDRESSES = {"two": ["10.0.0.2"]}


def test_either_family_goes_by_its_own_tunnel() -> None:
    """IPv6 stays in VXLAN where IPv4 has left it."""
    script = f"""
ip link set lo up
ip link add v0 type veth peer v1
ip link set v0 up
ip link set v1 up
ip link add vxlan-v6.calico type bridge
ip -6 route add fd00:244:2::/122 dev v0 proto 80
ip route add 10.244.2.0/26 dev v0 proto 80
{handed_over_script({}).main}
ip route show proto 80
ip -6 route show proto 80
"""
    argv = ["unshare", "--net", "dash", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split()[0] == "fd00:244:2::/122", done


def test_blocks_are_led_to_by_addresses_of_their_own_family() -> None:
    blocks = {"one": ["10.244.1.0/26"], "two": ["10.244.2.0/26", "fd00:244:2::/122"]}
    script = bridge_script(
        "one", blocks, {"one": ["10.0.0.1", "fd00::1"], "two": ["10.0.0.2", "fd00::2"]}
    ).main
    assert [line.split(" proto ")[0] for line in script.splitlines() if "route replace" in line] == [
        "ip -4 route replace 10.244.2.0/26 via 10.0.0.2",
        "ip -6 route replace fd00:244:2::/122 via fd00::2",
    ]


@pytest.mark.parametrize("device", ["", "vxlan.calico"])
def test_felix_routes_go_once_the_tunnel_is_gone(device: str) -> None:
    made = f"""
ip link set lo up
ip link add v0 type veth peer v1
ip addr add 10.0.0.1/24 dev v0
ip link set v0 up
ip link set v1 up
[ -z "{device}" ] || ip link add {device} type bridge
ip route add 10.244.2.0/26 via 10.0.0.2 proto 80
ip route add blackhole 10.244.1.0/26 proto 80
(sleep 1; ip route add blackhole 10.244.1.0/26 proto bird metric 32
 ip route add 10.244.2.0/26 via 10.0.0.2 proto bird metric 32) &
"""
    script = made + bridge_script("one", BLOCKS, ADDRESSES).main + handed_over_script(BLOCKS).main
    argv = [
        "unshare",
        "--net",
        "dash",
        "-c",
        f"{script}\nip route show root 10.244.0.0/16\n{unbridge_script().main}",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert ("proto 80" in done.stdout) is bool(device), done
    assert done.stdout.count("proto bird") == 2, "it waits for them"
    assert "10.244.2.0/26 via 10.0.0.2 dev v0 proto 196 metric 9000" in done.stdout
