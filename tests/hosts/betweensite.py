"""Three network namespaces with sshd, and the check of what passes between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from netnshosts import ADDRESSES, inside, logins, segment

from provisioner.action import betweenround
from provisioner.action.between import Between
from provisioner.engine.events import Event, Note
from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsread import _addresses, _macs, _mtus
from provisioner.remote.pool import Pool
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Network

HOSTS = tuple(ADDRESSES)
VXLAN = Network()
INVENTORY = f"""\
all:
  vars:
    ansible_user: root
    cluster:
      name: lab
      kubernetes: {{version: 1.33.13}}
      network: {{pod_cidrs: [10.244.0.0/16], service_cidrs: [10.96.0.0/16]}}
      registry: {{host: registry.lab.internal, port: 5000}}
  children:
    registry: {{hosts: {{a: {{ansible_host: {ADDRESSES["a"]}}}}}}}
    etcd: {{hosts: {{a: }}}}
    kube_control_plane: {{hosts: {{a: }}}}
    kube_node: {{hosts: {{b: {{ansible_host: {ADDRESSES["b"]}}}, c: {{ansible_host: {ADDRESSES["c"]}}}}}}}
"""


class Site:
    """Three namespaces, and the check on them."""

    def __init__(self, pool: Pool, inventory: Inventory, spec: ClusterSpec) -> None:
        self.pool, self.inventory, self.spec = pool, inventory, spec
        self.events: list[Event] = []

    def facts(self) -> dict[str, Facts]:
        bare = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 1, {}, "eth0")
        found = {}
        for host in HOSTS:
            addresses, links = _addresses(inside(host, "ip -o addr")), inside(host, "ip -o link")
            found[host] = replace(bare, addresses=addresses, mtus=_mtus(links), macs=_macs(links))
        return found

    def check(self, network: Network = VXLAN, fresh: Sequence[str] = HOSTS) -> tuple[list[str], str]:
        """The lines of what is wrong, and the hint."""
        spec = replace(self.spec, network=network)
        self.events.clear()
        try:
            Between(self.inventory, spec, self.facts(), fresh).run(self.pool, self.events.append)
        except ProvisionError as fault:
            return fault.reason.splitlines(), fault.hint
        return [], ""

    @property
    def notes(self) -> list[str]:
        return [each.message for each in self.events if isinstance(each, Note)]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with segment(), logins(tmp_path_factory.mktemp("sshd")) as pool:
        yield pool


@pytest.fixture
def site(pool: Pool, tmp_path: Path) -> Site:
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY)
    return Site(pool, *load_cluster(path))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost here by chance, so nobody has to be waited for."""
    monkeypatch.setattr(betweenround, "PATIENCE", 2)
    monkeypatch.setattr(betweenround, "_LATE", 0.5)
