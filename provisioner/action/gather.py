"""Facts of hosts: asked for everywhere at once, and held against what every host needs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.action.reach import all_reached
from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.spec.versions import KUBEADM

if TYPE_CHECKING:
    from provisioner.remote.pool import Pool
    from provisioner.remote.session import Session
    from provisioner.spec.model import Existing


def gather_each(
    pool: Pool,
    hosts: Sequence[str],
    modules: Sequence[str] = (),
    packages: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType({}),
    *,
    firewall: bool = False,
    links: bool = False,
    addresses: Mapping[str, str] = MappingProxyType({}),
    existing: Existing | None = None,
    settings: Sequence[str] | None = None,
    masters: Sequence[str] = (),
    towards: str = "",
) -> dict[str, Facts | Exception]:
    """Facts by host, or what was raised instead. `modules`: of the kernel, to be looked for; `packages`: by host and
    distribution; `links`: what the machine is made of; `addresses`: by host, one that nobody on its link should have;
    `existing`: the cluster that is there, whose files are read, too; `settings`: as `facts_script` takes them;
    `masters`: links by name; `towards`: an address that hosts may have a way to."""
    paths = existing_paths(existing)

    def ask(session: Session) -> Facts:
        began = time.time()
        script = facts_script(
            modules,
            packages.get(session.host),
            firewall=firewall,
            links=links,
            address=addresses.get(session.host, ""),
            existing=paths,
            settings=settings,
            masters=masters,
            towards=towards,
        )
        answer = session.run(script, deadline=90, what="the reading of its facts")
        return parse_facts(session.host, answer.stdout, began)

    return pool.map(hosts, ask)


def existing_paths(existing: Existing | None) -> dict[str, str] | None:
    """Where the parts of a cluster lie that is there, as the script of facts names them; None where nothing of it is
    taken over."""
    if existing is None or existing.preset == KUBEADM:
        return None
    return {"kubernetes": existing.kubernetes, "etcd": existing.etcd, "admin": existing.admin_kubeconfig}


def usable(answers: Mapping[str, Facts | Exception]) -> dict[str, Facts]:
    """The facts. Raises UnreachableError with all that were not reached, ProvisionError for those without root rights
    or tools."""
    facts = all_reached(answers)
    plain = [host for host, each in facts.items() if not each.root]
    if plain:
        raise ProvisionError(
            f"not root on {', '.join(plain)}", "set ansible_become: true, or log in as root with ansible_user"
        )
    poor = [
        f"{host} lacks {', '.join(each.missing_tools)}" for host, each in facts.items() if each.missing_tools
    ]
    if poor:
        raise ProvisionError(
            "; ".join(poor), "install tar, gzip, iproute2, kmod, coreutils, util-linux, findutils"
        )
    return facts
