"""`lab status`: what of a lab runs, read from the kernel and from the hosts' SSH ports."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from provisioner.lab.down import remains
from provisioner.lab.host import HostStatus, inspect
from provisioner.lab.network import switch_is_up
from provisioner.lab.plan import LabPlan
from provisioner.lab.readdress import check_subnet
from provisioner.lab.requirements import require_root


@dataclass(frozen=True)
class LabStatus:
    """`present` means that something of the lab is on the machine, be it whole or half-dead."""

    name: str
    subnet: str
    directory: str
    present: bool
    network: bool
    hosts: tuple[HostStatus, ...]

    @property
    def well(self) -> bool:
        """Whether `lab up` would find nothing to do."""
        return self.network and all(host.well for host in self.hosts)


def status(plan: LabPlan) -> LabStatus:
    """Reads the lab; changes nothing. Raises InputError when its hosts run in another subnet."""
    require_root()
    check_subnet(plan)
    with ThreadPoolExecutor(max_workers=16) as pool:
        hosts = tuple(pool.map(lambda host: inspect(plan, host), plan.hosts))
    return LabStatus(
        name=plan.name,
        subnet=str(plan.subnet),
        directory=str(plan.directory),
        present=bool(remains(plan.directory)),
        network=switch_is_up(plan),
        hosts=hosts,
    )
