"""What a load balancer's health script asks, and whose certificate it takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from readyserver import SETPRIV, ready_server

from provisioner.pki.authority import new_authority
from provisioner.playbook.render import render_file

HEALTH = Path(__file__).parents[2] / "templates/load-balancer/api-health.j2"
CA = new_authority("kubernetes")
CLIENTS = {"by name": "api.example.org", "IPv4": "192.0.2.9", "IPv6": "2001:db8::9"}
"""None of them leads to this machine."""


def status(folder: Path, shell: str, port: int, host: str, balancing: str = "%d") -> int:
    (folder / "ca.crt").write_text(CA.cert)
    (folder / "setpriv").write_text(SETPRIV)
    (folder / "setpriv").chmod(0o755)
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    variables = {"folder": str(folder), "balancing": balancing % port, "api_server": server}
    (folder / "health").write_text(render_file(HEALTH, variables))
    done = subprocess.run(
        [shell, folder / "health"],
        env={"PATH": f"{folder}:/usr/bin:/bin", "https_proxy": "http://192.0.2.1:1"},
        check=False,
        timeout=20,
    )
    return done.returncode


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("host", CLIENTS.values(), ids=CLIENTS)
def test_it_goes_through_this_host_by_the_name_that_clients_use(
    host: str, shell: str, tmp_path: Path
) -> None:
    """An API server that was set up by hand need not have a certificate for 127.0.0.1."""
    with ready_server(tmp_path, CA, [host]) as server:
        assert status(tmp_path, shell, server.port, host) == 0
        assert host in server.asked[0]
        server.ready = False
        assert status(tmp_path, shell, server.port, host) == 22


def test_a_certificate_that_clients_would_refuse_is_none_here(tmp_path: Path) -> None:
    with ready_server(tmp_path, CA, ["127.0.0.1", "192.0.2.11"]) as server:
        assert status(tmp_path, "sh", server.port, "192.0.2.9") == 60
        assert status(tmp_path, "sh", server.port, "127.0.0.1", "127.0.0.1:%d") == 0, "mode local"


def test_another_authority_is_none(tmp_path: Path) -> None:
    with ready_server(tmp_path, new_authority("kubernetes"), ["192.0.2.9"]) as server:
        assert status(tmp_path, "sh", server.port, "192.0.2.9") == 60


def test_nobody_answers(tmp_path: Path) -> None:
    with ready_server(tmp_path, CA, ["192.0.2.9"]) as server:
        port = server.port
    assert status(tmp_path, "sh", port, "192.0.2.9") == 7
