"""Where each host's packages come from: its own package sources, or the bundle where it does not reach those."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from provisioner.bundle.apt import paragraph
from provisioner.bundle.layout import Bundle
from provisioner.bundle.packages import OsPackages
from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.playbook.distributions import distribution_of, packages_by_id
from provisioner.playbook.facts import Facts
from provisioner.resources.packagefiles import PackageFile, PackageFiles
from provisioner.shell.script import Blob
from provisioner.spec.model import ClusterSpec, local_balancers


def asked_of(inventory: Inventory, spec: ClusterSpec) -> dict[str, Mapping[str, Sequence[str]]]:
    """The packages that each host is asked for, by host and distribution. In one order with the playbooks."""
    groups = {role: {host.name for host in inventory.group(role)} for role in ("registry", "load_balancer")}
    asked: dict[str, Mapping[str, Sequence[str]]] = {}
    local = local_balancers(inventory, spec)
    for name, node in spec.nodes.items():
        roles = (
            *(("local_load_balancer",) if name in local else ()),
            *(("node",) if node.node and spec.existing is None else ()),
            *(role for role, members in groups.items() if name in members),
        )
        if roles:
            asked[name] = packages_by_id(roles)
    return asked


def check_packages(
    facts: Mapping[str, Facts], bundle: Bundle, emit: Emit, registries: Collection[str] = ()
) -> None:
    """Says which hosts get packages from the bundle. Raises ProvisionError naming what hosts can have from nowhere;
    `registries` are those that become one.
    """
    faults, from_bundle = [], []
    for host, each in facts.items():
        if host in registries and not distribution_of(each).registry:
            faults.append(f"{host}: no package of {each.os_id} is known that makes it a registry")
        if not _needs_files(each):
            continue
        packages = _packages_of(each, bundle)
        lacking = packages.missing(each.missing_packages) if packages else each.missing_packages
        if packages and not lacking:
            from_bundle.append(host)
            continue
        system = f"{each.os_id} {each.os_version} ({each.architecture})"
        faults.append(
            f"{host}: lacks {', '.join(lacking)}; it does not reach its own package sources, "
            f"and the bundle has none for {system}"
        )
    if faults:
        raise ProvisionError(
            "\n".join(faults),
            "give the hosts a source of their distribution's packages, or install these by hand; "
            "a registry may be any host outside of the inventory, too (cluster.registry.host)",
        )
    if from_bundle:
        said = f"{', '.join(from_bundle)}: packages come from the bundle, their own package sources are not reached"
        emit(Note(message=said))


def files_for(facts: Mapping[str, Facts], bundle: Bundle) -> dict[str, PackageFiles]:
    """Where packages come from on the hosts that get them from the bundle."""
    found: dict[str, PackageFiles] = {}
    for host, each in facts.items():
        packages = _packages_of(each, bundle) if _needs_files(each) else None
        if packages is not None:
            found[host] = partial(_files, packages)
    return found


def _needs_files(facts: Facts) -> bool:
    return bool(facts.missing_packages) and not facts.package_sources


def _packages_of(facts: Facts, bundle: Bundle) -> OsPackages | None:
    return bundle.packages(f"{facts.os_id}-{facts.os_version}", facts.platform)


def _files(packages: OsPackages, name: str) -> Sequence[PackageFile]:
    if packages.missing([name]):
        return ()
    return tuple(
        PackageFile(
            each.name,
            each.file,
            paragraph(packages.paragraphs[each.name]),
            Blob(each.sha256, each.size, path=each.path),
        )
        for each in packages.with_needs([name])
    )
