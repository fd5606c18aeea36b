"""The pod network of a cluster that others have built, as the last migration away from it found it: kept on its
control planes."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.action.migration.change import Change
from provisioner.action.migration.hosts import each
from provisioner.action.migration.sections import spec_of
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.kube.podcopies import FOLDER
from provisioner.network.record import Section
from provisioner.remote.pool import Pool
from provisioner.shell.script import Blob, Script
from provisioner.spec.model import Network

FILE = f"{FOLDER}/originals.json"
"""On every control plane; it stays when migrations have ended, because --rollback may come at any time."""


@dataclass(frozen=True)
class Originals:
    """`section` is how the inventory described it then, `network` what that means."""

    section: Section
    objects: Sequence[dict[str, Any]]
    network: Network

    def check(self, change: Change) -> None:
        """Raises InputError where the inventory describes another network than what is there."""
        problems = {"flannel": self._of_flannel, "calico": self._of_calico}.get(change.old.network.plugin)
        if problems and (found := [*problems(change)]):
            raise InputError(found)

    def _of_calico(self, change: Change) -> Iterator[Problem]:
        """What Calico has left is looked for in its pools."""
        has = sorted(each["spec"]["cidr"] for each in self.objects if each["kind"] == "IPPool")
        if {*has} != {pool.cidr for pool in self.network.calico.pools}:
            pools = ", ".join(f"{{name: NAME, cidr: {each}}}" for each in has)
            said = f"calico has pools of {', '.join(has) or 'no CIDR'}"
            yield _differs(change, ("calico", "pools"), said, f"[{pools}]")

    def _of_flannel(self, change: Change) -> Iterator[Problem]:
        conf = self._net_conf()
        has = [ipaddress.ip_network(conf[key]) for key in ("Network", "IPv6Network") if conf.get(key)]
        if {*has} != {*map(ipaddress.ip_network, self.network.pod_cidrs)}:
            said = ", ".join(map(str, has))
            yield _differs(change, ("pod_cidrs",), f"flannel has {said}", f"[{said}]")
        backend = str(conf.get("Backend", {}).get("Type", "udp"))
        if backend != self.network.flannel.backend:
            yield _differs(change, ("flannel", "backend"), f"flannel has the back end {backend}", backend)

    def _net_conf(self) -> Mapping[str, Any]:
        for item in self.objects:
            text = item.get("data", {}).get("net-conf.json") if item["kind"] == "ConfigMap" else None
            if text:
                return _parsed(text)
        raise ProvisionError(
            "flannel has no net-conf.json in a ConfigMap kube-flannel-cfg beside its agents",
            "only flannel of its own manifest, with --kube-subnet-mgr, is migrated",
        )


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as fault:
        raise ProvisionError(
            f"flannel's net-conf.json in its ConfigMap is no JSON: {fault}", "mend it first"
        ) from None
    return found if isinstance(found, dict) else {}


def _differs(change: Change, path: Sequence[str], has: str, right: str) -> Problem:
    place = change.source.inventory.origin(None, "cluster", "network", *path)
    return Problem(*place, f"{path[-1]}: {has}", f"write {right}")


def read_originals(pool: Pool, planes: Sequence[str], inventory: Inventory) -> Originals | None:
    """None where no migration has begun yet. Raises ProvisionError for a damaged file."""
    said = each(pool, planes, Script(f"[ ! -e {FILE} ] || cat {FILE}\n"), f"{FILE} cannot be read")
    for host, text in said.items():
        if text.strip():
            try:
                data = json.loads(text)
                section, objects = data["section"], data["objects"]
            except (ValueError, KeyError, TypeError) as fault:
                raise ProvisionError(
                    f"{host}: {FILE} is damaged ({type(fault).__name__}: {fault})",
                    "restore it from another control plane",
                ) from None
            return Originals(section, objects, spec_of(inventory, section).network)
    return None


def write_originals(pool: Pool, planes: Sequence[str], originals: Originals) -> None:
    """In place of those of an earlier migration. Raises ProvisionError."""
    text = json.dumps({"section": originals.section, "objects": list(originals.objects)}, sort_keys=True)
    script = f"""set -e
umask 077
mkdir -p {FOLDER}
cp "$W/originals" {FILE}.new
mv {FILE}.new {FILE}
"""
    each(pool, planes, Script(script, {"originals": Blob.of(text.encode())}), "the originals cannot be kept")
