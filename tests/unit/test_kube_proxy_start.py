"""What runs before kube-proxy: after a change of its mode, and only then, what the old mode left is cleaned up."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "templates/kube-proxy/kube-proxy.service.j2"


@pytest.fixture
def script(tmp_path: Path) -> str:
    """The unit's line as the shell gets it from systemd, with places below `tmp_path`."""
    line: str
    (line,) = re.findall(r"^ExecStartPre=/bin/sh -c '(.*?)'$", UNIT.read_text(), re.MULTILINE | re.DOTALL)
    proxy = tmp_path / "kube-proxy"
    proxy.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\nexit 1\n')
    proxy.chmod(0o755)
    places = {
        "/opt/kubernetes/bin/kube-proxy": str(proxy),
        "/run/kube-proxy/mode": str(tmp_path / "mode"),
        "/etc/kubernetes/kube-proxy.yaml": str(tmp_path / "kube-proxy.yaml"),
        "$$": "$",
        "\\\n": "",
    }
    for old, new in places.items():
        assert old in line
        line = line.replace(old, new)
    return line


def started(script: str, folder: Path, mode: str) -> list[str]:
    """How kube-proxy was called by then."""
    (folder / "kube-proxy.yaml").write_text(f"kind: KubeProxyConfiguration\nmode: {mode}\nclusterCIDR: x\n")
    subprocess.run(["/bin/sh", "-c", script], check=True)
    assert (folder / "mode").read_text() == f"{mode}\n"
    called = folder / "called"
    return called.read_text().splitlines() if called.exists() else []


def test_only_another_mode_cleans_up(script: str, tmp_path: Path) -> None:
    assert started(script, tmp_path, "ipvs") == [], (
        "nothing is known of another mode: after a boot there is none"
    )
    assert started(script, tmp_path, "ipvs") == []
    assert started(script, tmp_path, "iptables") == ["--cleanup"]
    assert started(script, tmp_path, "iptables") == ["--cleanup"]
    assert started(script, tmp_path, "nftables") == ["--cleanup"] * 2
