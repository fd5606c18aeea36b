"""Services of IPVS on a node that leaves: kube-proxy's go, those of others stay, with ipvsadm and without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from provisioner.kube.lookagain import parse_look
from provisioner.kube.virtualservices import CLEAR

HEAD = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
"""
V6 = "fd00:0096:0000:0000:0000:0000:0000:000a"
OWN = [
    "TCP  0A600001:01BB rr ",
    "UDP  0A60000A:0035 rr ",
    f"TCP  [{V6}]:0035 rr ",
    "TCP  0A000015:7530 rr ",
    "SCTP 0A000015:7531 rr ",
]
"""Two addresses of kube-ipvs0, one of IPv6, and node ports."""
KEEPALIVED = ["TCP  0A000063:0050 wlc persistent 300", "UDP  0A000015:7530 rr ", "FWM  00000001 rr "]
DELETED = [
    "-D -t 10.96.0.1:443",
    "-D -u 10.96.0.10:53",
    f"-D -t [{V6}]:53",
    "-D -t 10.0.0.21:30000",
    "-D --sctp-service 10.0.0.21:30001",
]
PROGRAMS = {
    "ip": r"""printf '7: kube-ipvs0    inet %s scope global kube-ipvs0\\\n' 10.96.0.1/32 10.96.0.10/32""",
    "ipset": r"""
case $* in
  'list -n') printf '%s\n' blocked KUBE-NODE-PORT-TCP KUBE-NODE-PORT-SCTP-HASH KUBE-6-NODE-PORT-UDP ;;
  *-TCP) printf '%s\n' "Name: $2" 'Type: bitmap:port' 'Header: range 0-65535' 'References: 1' Members: 30000 ;;
  *-SCTP-HASH) printf '%s\n' "Name: $2" 'Type: hash:ip,port' Members: 10.0.0.21,sctp:30001 ;;
  *) printf '%s\n' "Name: $2" Members: ;;
esac
""",
    "ipvsadm": r"""echo "$*" >>ROOT/deleted
case "$*" in *10.0.0.21:30001) sed -i '/^ /d;/0A60/d;/fd00/d;/7530 rr $/{/^TCP/d;};/^SCTP/d' ROOT/ip_vs ;; esac""",
    "kube-proxy": r"""echo "$*" >>ROOT/flushed
: >ROOT/ip_vs""",
}


def cleared(root: Path, services: Sequence[str], *without: str, shell: str = "dash") -> tuple[str, str, str]:
    """(what it prints, what ipvsadm deleted, how kube-proxy was called)"""
    programs = root / "programs"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        if name not in without:
            (programs / name).write_text(f"#!/bin/sh\n{text.replace('ROOT', str(root))}\n")
            (programs / name).chmod(0o755)
    lines = "".join(f"{each}\n  -> C0A80001:192B      Masq    1      0          0\n" for each in services)
    (root / "ip_vs").write_text(HEAD + lines)
    address = V6.replace(":", "")
    (root / "if_inet6").write_text(f"{address} 07 80 00 80 kube-ipvs0\n{'f' * 32} 02 40 20 80     eth0\n")
    text = CLEAR.replace("/proc/net/", f"{root}/").replace("/opt/kubernetes/bin/", f"{programs}/")
    # busybox has an `ip` of its own, which it prefers.
    text = text.replace("  ip -4 ", f"  {programs}/ip -4 ")
    argv = ["busybox", "ash", "-c", text] if shell == "busybox" else [shell, "-c", text]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    deleted, flushed = (
        path.read_text() if (path := root / name).exists() else "" for name in ("deleted", "flushed")
    )
    return done.stdout, deleted, flushed


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_only_kube_proxy_s_go_where_others_have_some(tmp_path: Path, shell: str) -> None:
    said, deleted, flushed = cleared(tmp_path, [*KEEPALIVED, *OWN], shell=shell)
    assert (said, deleted.splitlines(), flushed) == ("", DELETED, "")


def test_without_ipvsadm_they_stay_and_that_is_told(tmp_path: Path) -> None:
    said, _, flushed = cleared(tmp_path, [*KEEPALIVED, *OWN], "ipvsadm")
    assert flushed == ""
    assert list(parse_look(said).stays) == ["5 services of kube-proxy in IPVS"]


def test_where_all_are_kube_proxy_s_it_flushes_them_itself(tmp_path: Path) -> None:
    assert cleared(tmp_path, OWN, "ipvsadm") == ("", "", "--cleanup\n")


@pytest.mark.parametrize("services", [[], KEEPALIVED])
def test_nothing_is_done_where_it_has_none(tmp_path: Path, services: Sequence[str]) -> None:
    assert cleared(tmp_path, services) == ("", "", "")
