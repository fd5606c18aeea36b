"""firewalld, ufw and nftables for real, each on a host of its own: found, judged, opened and closed again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioner.action.connect import connect_to
from provisioner.action.firewall import is_open, ports_of
from provisioner.inventory.model import load_inventory
from provisioner.playbook.facts import Facts, parse_facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.render import render_file
from provisioner.remote.session import Session
from provisioner.shell.assemble import refusing_chains
from provisioner.shell.script import Blob, Script
from provisioner.spec.model import load_spec

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "templates/firewall/provision-firewall.j2"
BASE = ROOT / "tests/data/spec/base.yaml"
NET = os.environ.get("PROVISION_TEST_SUBNET", "10.98.36.0/24").rpartition(".")[0]
INVENTORY = f"""\
all:
  vars: {{lab: {{name: firewalls, subnet: {NET}.0/24, packages: PACKAGES}}, ansible_user: root}}
  hosts: {{one: {{ansible_host: {NET}.11}}}}
"""
STRICT = """
nft -f - <<'END'
table inet strict {
  chain input { type filter hook input priority 0; policy drop; ct state established accept; tcp dport 22 accept; }
}
END
"""
LEADING = """
nft -f - <<'END'
table inet strict {
  chain rest { drop; }
  chain services { tcp dport vmap { 22 : accept, 23 : goto rest }; goto rest; }
  chain input { type filter hook input priority 0; policy accept; ct state established accept; jump services; }
}
END
"""
"""As STRICT; but what comes in by itself drops nothing."""
HARMLESS = """
nft -f - <<'END'
table inet banned {
  chain f2b-sshd { ip saddr 192.0.2.1 counter reject; return; }
  chain KUBE-FIREWALL { ip daddr 127.0.0.0/8 drop; }
  chain round { jump f2b-sshd; }
  chain input { type filter hook input priority 0; policy accept; jump round; jump KUBE-FIREWALL; }
}
table ip kube-proxy {
  chain filter-forward { type filter hook forward priority -110; policy accept; ct state new reject; }
}
END
"""
FIREWALLS = {
    "nftables": ("nftables", [], STRICT),
    "nftables by jumps": ("nftables", [], LEADING),
    "firewalld": ("firewalld", ["firewalld"], "systemctl start firewalld; firewall-cmd -q --state"),
    "ufw": ("ufw", ["ufw"], "ufw allow 22/tcp >/dev/null; ufw --force enable >/dev/null"),
}


@contextmanager
def one_host(folder: Path, packages: list[str]) -> Iterator[Session]:
    path = folder / "inventory.yaml"
    path.write_text(INVENTORY.replace("PACKAGES", json.dumps(packages)))
    provision = [str(Path(sys.executable).with_name("provision")), "lab"]
    subprocess.run([*provision, "up", path], check=True, capture_output=True)
    try:
        with connect_to(load_inventory(path)) as pool:
            yield pool.session("one")
    finally:
        subprocess.run([*provision, "down", path], check=True, capture_output=True)


def run(session: Session, text: str) -> str:
    done = session.run(Script(f"set -e\n{text}\n"), deadline=60)
    assert done.status == 0, done.stderr.decode()
    return done.stdout.decode()


def facts_of(session: Session) -> Facts:
    return parse_facts("one", session.run(facts_script(firewall=True)).stdout, 1.0)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(FIREWALLS))
def test_a_firewall_is_opened_and_closed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    inventory = load_inventory(BASE)
    spec = load_spec(inventory)
    ports = ports_of(inventory, spec)["cp1"]
    kind, packages, start = FIREWALLS[name]
    with one_host(tmp_path, packages) as session:
        run(session, "systemctl stop firewalld ufw 2>/dev/null || :")
        run(session, HARMLESS)
        assert facts_of(session).firewall == "", "none is at work yet"
        run(session, start)
        before = facts_of(session)
        assert before.firewall == kind
        assert not any(is_open(before, *each, []) for each in ports.each())
        assert is_open(before, "tcp", "22", []) or kind == "firewalld", "which opens SSH as a service"
        variables = {
            "facts": before,
            "firewall": ports,
            "cluster": spec,
            "refusing_chains": refusing_chains(),
        }
        text = render_file(TEMPLATE, variables)
        for action, expected in (("open", True), ("open", True), ("close", False)):
            script = Script(f'sh "$W/firewall" {action}', {"firewall": Blob.of(text.encode())})
            done = session.run(script, deadline=60)
            assert done.status == 0, done.stderr.decode()
            after = facts_of(session)
            assert after.firewall == kind
            assert {is_open(after, *each, []) for each in ports.each()} == {expected}, after.filters
        assert facts_of(session).filters == before.filters
