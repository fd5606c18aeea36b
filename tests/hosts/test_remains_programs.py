"""eBPF programs of a plug-in on hosts' links go; others' stay. Real ones, of two instructions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from nodespace import node

from provisioner.kube.remains import clean_script, parse_remains, remains_script

# BPF_PROG_LOAD and BPF_OBJ_PIN of bpf(2), x86-64 and others' number given: `return 2`.
PINNED = r"""
import ctypes, os, struct, sys
kind, name, place = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3].encode()
number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
code = ctypes.create_string_buffer(struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0))
licence = ctypes.create_string_buffer(b"GPL")
path = ctypes.create_string_buffer(place)
load = struct.pack(
    "<IIQQIIQII16s", kind, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0, name[:15]
)
fd = libc.syscall(number, 5, ctypes.create_string_buffer(load, 128), 128)
assert fd >= 0, os.strerror(ctypes.get_errno())
pin = ctypes.create_string_buffer(struct.pack("<QII", ctypes.addressof(path), fd, 0), 16)
assert libc.syscall(number, 6, pin, 16) == 0, os.strerror(ctypes.get_errno())
"""
FILTER, XDP = "3", "6"
LINKS = """
mkdir /run/bpf
mount -t bpf none /run/bpf
ip link add eth0 type veth peer name wire
ip link set eth0 up
ip link set wire up
tc qdisc add dev eth0 clsact
"""
ATTACHED = """
for name in {prefix}_from others_{prefix}_; do
  for way in ingress egress; do tc filter add dev eth0 $way bpf da object-pinned /run/bpf/$name; done
done
ip link set dev eth0 xdpgeneric pinned /run/bpf/{prefix}_xdp_
ip link set dev wire xdpgeneric pinned /run/bpf/others_xdp_
"""
SEEN = """
for way in ingress egress; do tc filter show dev eth0 $way; done | sed -n 's/.* name \\([^ ]*\\) .*/\\1/p'
ip -d link show | sed -n 's/.* name \\([^ ]*\\) .*/\\1/p'
"""


@pytest.mark.parametrize(("plugin", "prefix"), [("cilium", "cil"), ("calico", "cali")])
def test_programs_on_links_of_the_host_go_by_their_names(tmp_path: Path, plugin: str, prefix: str) -> None:
    with node(tmp_path) as here:
        here.run(LINKS)
        for kind, name in (
            (FILTER, f"{prefix}_from"),
            (FILTER, f"others_{prefix}_"),
            (XDP, f"{prefix}_xdp_"),
            (XDP, "others_xdp_"),
        ):
            loader = [sys.executable, "-c", PINNED, kind, name, f"{here.root}/run/bpf/{name}"]
            subprocess.run(["nsenter", "-t", str(here.pid), "-m", *loader], check=True)
        here.run(ATTACHED.format(prefix=prefix))
        look = remains_script(plugin).main
        told = {each.name.split()[1] for each in parse_remains(here.run(look)) if each.kind == "program"}
        assert told == {"ingress", "egress", "xdp"}
        here.run(clean_script(plugin).main)
        assert sorted(here.run(SEEN).split()) == [f"others_{prefix}_", f"others_{prefix}_", "others_xdp_"]
        assert [each for each in parse_remains(here.run(look)) if not each.left] == []
