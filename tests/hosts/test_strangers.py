"""Somebody else has the virtual address, or the number of the virtual router: found on a real link, and refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.action.connect import connect_to
from provisioner.action.virtualrouter import VirtualRouter, check_virtual_address
from provisioner.errors import ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.playbook.render import render_file
from provisioner.remote.session import Session
from provisioner.resources.model import Answer
from provisioner.shell.script import Blob, Script
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

ROOT = Path(__file__).parents[2]
NET = os.environ.get("PROVISION_TEST_SUBNET", "10.98.37.0/24").rpartition(".")[0]
VIP = f"{NET}.9"
INVENTORY = f"""\
all:
  vars:
    lab: {{name: strangers-{NET.replace(".", "-")}, subnet: {NET}.0/24, packages: [keepalived]}}
    ansible_user: root
  hosts: {{lb1: {{ansible_host: {NET}.5}}, lb2: {{ansible_host: {NET}.6}}, other: {{ansible_host: {NET}.77}}}}
"""
pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Link:
    """Two load balancers and somebody `other`, all on one link."""

    spec: ClusterSpec
    lb1: Session
    lb2: Session
    other: Session

    def facts(self) -> dict[str, Facts]:
        return {
            each.host: parse_facts(each.host, each.run(facts_script(address=VIP)).stdout, 1.0)
            for each in (self.lb1, self.lb2)
        }

    def check(self) -> None:
        check_virtual_address(self.spec, ("lb1", "lb2"), self.facts())


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    folder = tmp_path_factory.mktemp("link")
    path, ha = folder / "inventory.yaml", folder / "ha.yaml"
    path.write_text(INVENTORY)
    ha.write_text((ROOT / "inventories/ha.yaml").read_text().replace("10.98.1.", f"{NET}."))
    provision = [str(Path(sys.executable).with_name("provision")), "lab"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    subprocess.run([*provision, "up", path], check=True, capture_output=True, env=environment)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", environment["XDG_STATE_HOME"])
            with connect_to(load_inventory(path)) as pool:
                yield Link(load_cluster(ha)[1], *map(pool.session, ("lb1", "lb2", "other")))
    finally:
        subprocess.run([*provision, "down", path], check=True, capture_output=True, env=environment)


def run(session: Session, text: str) -> str:
    done = session.run(Script(f"set -e\n{text}\n"), deadline=60)
    assert done.status == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_virtual_address_that_another_machine_has_is_refused(link: Link) -> None:
    link.check()
    run(link.other, f"ip addr add {VIP}/32 dev eth0")
    mac = run(link.other, "cat /sys/class/net/eth0/address").strip()
    with pytest.raises(ProvisionError) as caught:
        link.check()
    assert f"{VIP} is taken by another machine: {mac} answers lb1 for it" in caught.value.reason
    assert "cluster.endpoint.host" in caught.value.hint
    run(link.other, f"ip addr del {VIP}/32 dev eth0")
    link.check()
    assert VIP not in run(link.lb1, "ip neigh show"), "nothing is left of the question"


def test_one_of_ours_may_have_it(link: Link) -> None:
    run(link.lb1, f"ip addr add {VIP}/32 dev eth0")
    assert link.facts()["lb2"].claimed != "", "it is heard"
    link.check()
    run(link.lb1, f"ip addr del {VIP}/32 dev eth0")
    run(link.lb2, f"echo '# {VIP}/32' >/etc/keepalived/keepalived.conf")
    run(link.other, f"ip addr add {VIP}/32 dev eth0")
    link.check()
    run(link.lb2, "rm /etc/keepalived/keepalived.conf")
    run(link.other, f"ip addr del {VIP}/32 dev eth0")


def listen(link: Link) -> Answer:
    router = VirtualRouter(f"{VIP}/32", 9, "eth0", f"{NET}.5", 200, (f"{NET}.6",))
    template = ROOT / "templates/load-balancer/virtual-router-free.j2"
    text = render_file(template, {"virtual_router": router})
    script = Script('sh "$W/listen"', {"listen": Blob.of(text.encode())})
    return link.lb1.run(script, deadline=60)


def start(session: Session, number: int, version: int, more: str = "") -> None:
    """A virtual router beside ours, by all that keepalived does."""
    run(
        session,
        f"""cat >/run/other.conf <<'END'
global_defs {{
  vrrp_version {version}
}}
vrrp_instance other {{
  state MASTER
  interface eth0
  virtual_router_id {number}
  {more}
  virtual_ipaddress {{
    {NET}.78
  }}
}}
END
systemctl stop other 2>/dev/null || :
systemd-run --quiet --collect --unit=other keepalived --vrrp --dont-fork --use-file /run/other.conf \
  --pid /run/other.pid --vrrp_pid /run/other-vrrp.pid
n=0
until ip -o addr show dev eth0 | grep -q '{NET}[.]78/'; do n=$((n + 1)); [ $n -lt 100 ]; sleep 0.1; done""",
    )


@pytest.mark.parametrize("version", [2, 3])
def test_a_virtual_router_with_our_number_is_heard(link: Link, version: int) -> None:
    start(link.other, 9, version)
    done = listen(link)
    assert done.status == 1, done
    assert b"on eth0 has the number 9: choose another cluster.load_balancer.virtual_router_id" in done.stderr
    run(link.other, "systemctl stop other")


def test_others_and_our_own_are_none(link: Link) -> None:
    """Load balancers of ours speak to each other by unicast: one that joins later is no stranger to them."""
    start(link.other, 10, 3)
    start(link.lb2, 9, 3, f"unicast_peer {{\n{NET}.5\n}}")
    done = listen(link)
    assert (done.status, done.stderr) == (0, b"")
    assert VIP not in run(link.lb1, "ip addr show"), "it only listened"
    for each in (link.other, link.lb2):
        run(each, "systemctl stop other")


CONFIGURED = """
mkdir -p /opt/kubernetes/bin /etc/keepalived
printf '#!/bin/sh\\n' >/opt/kubernetes/bin/api-health
chmod 755 /opt/kubernetes/bin/api-health
cat "$W/conf" >/etc/keepalived/keepalived.conf
keepalived --config-test
"""


def test_who_is_no_peer_is_not_heard(link: Link) -> None:
    """It speaks to us by unicast, with our number and a higher priority, and the address is ours all the same."""
    start(link.other, 9, 3, f"priority 250\n  unicast_peer {{\n{NET}.5\n}}")
    router = VirtualRouter(f"{VIP}/32", 9, "eth0", f"{NET}.5", 200, (f"{NET}.6",))
    template = ROOT / "templates/load-balancer/keepalived.conf.j2"
    conf = render_file(template, {"inventory_hostname": "lb1", "virtual_router": router})
    done = link.lb1.run(Script(CONFIGURED, {"conf": Blob.of(conf.encode())}), deadline=60)
    assert done.status == 0, done.stderr.decode()
    run(
        link.lb1,
        f"""systemctl restart keepalived
n=0
until ip -o addr show to {VIP} | grep -q .; do n=$((n + 1)); [ $n -lt 100 ]; sleep 0.1; done""",
    )
    run(link.lb1, "systemctl stop keepalived; rm /etc/keepalived/keepalived.conf")
    run(link.other, "systemctl stop other")


def test_one_that_cannot_listen_says_so(link: Link) -> None:
    run(link.lb1, "mv /usr/sbin/keepalived /usr/sbin/away")
    done = listen(link)
    run(link.lb1, "mv /usr/sbin/away /usr/sbin/keepalived")
    assert done.status == 1
    assert b"keepalived cannot listen" in done.stderr
