"""Whether load balancers are as they shall be: before something is broken on one, and after the last was mended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionError
from provisioner.failover.watching import READY_SECONDS, ready

if TYPE_CHECKING:
    from provisioner.action.failoversite import Site

_SETTLED_SECONDS = 10.0
"""For an address that is just being handed over."""
_PAUSE = 0.3


def await_ready(site: Site, after: str = "") -> str:
    """Who has the address, once each load balancer could take it and one alone has it; "" where none is shared. `after`
    names the fault that was undone before. Raises ProvisionError with the host where that does not come in time."""
    if site.vip is None:
        return ""
    holders = _holders(site, site.vip, after)
    late = time.monotonic() + _SETTLED_SECONDS
    while len(holders) != 1:
        if time.monotonic() > late:
            when = f"after '{after}' was undone" if after else "while nothing was broken"
            nobody = f"none of {', '.join(site.balancers)}"
            raise ProvisionError(
                f"{' and '.join(holders) or nobody} had the address {site.vip} {when}",
                "does VRRP (IP protocol 112) pass between the load balancers?",
            )
        time.sleep(_PAUSE)
        holders = _holders(site, site.vip, after)
    return holders[0]


def _holders(site: Site, vip: str, after: str) -> list[str]:
    """Those that have the address, once all are ready."""
    holders = list[str]()
    answers = site.pool.map(
        site.balancers,
        lambda each: each.run(ready(vip, site.links[each.host]), deadline=READY_SECONDS + 30),
    )
    for host, said in answers.items():
        if isinstance(said, Exception):
            raise said
        if said.status != 0:
            words = said.stderr.decode(errors="replace").strip()
            what = f"is not as it was before '{after}'" if after else "could not take the address over"
            raise ProvisionError(
                f"{host} {what}: {words}",
                f"look at `journalctl -u api-load-balancer -u keepalived` on {host}; `provision apply` mends it",
            )
        if said.stdout.strip() == b"holder":
            holders.append(host)
    return holders
