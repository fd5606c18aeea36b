"""Whose host is lost in the test of an etcd leader's death, and that it is as before afterwards."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provisioner.kube.gates import api_ready
from provisioner.kube.leader import Voter, await_member, hand_over, may_lose_one, read_voters

if TYPE_CHECKING:
    from provisioner.action.failoversite import Site

_SETTLED = 6.0
"""Seconds after an API server was ready again: for a while it still answers by what its first question to etcd came to,
which would be the fault before this one."""
_HANDED_OVER = 2.0
"""Seconds after which clients see nothing of a hand-over any more."""


class LeftOutError(Exception):
    """The fault would not tell what it is for; the message says why."""


def check_spared(site: Site, host: str) -> None:
    """The cluster outlives the loss of the host. Raises LeftOutError where etcd would have no majority, or nobody else
    has an API server; ProvisionError when etcd does not answer, or another API server is not ready."""
    if host in site.servers:
        check_others_serve(site, host)
    if host in site.members:
        _check_majority(read_voters(site.pool.session(host), site.members[host].etcdctl))


def check_others_serve(site: Site, host: str) -> None:
    """All API servers but the host's are ready. Raises LeftOutError when there is no other, ProvisionError when one is
    not ready."""
    others = [each for each in site.servers if each != host]
    if not others:
        raise LeftOutError(f"{host} has the only API server")
    api_ready([site.pool.session(each) for each in others])


def _check_majority(found: Sequence[Voter]) -> None:
    if not may_lose_one(found):
        well = sum(each.answers for each in found)
        raise LeftOutError(f"{well} of {len(found)} members of etcd answer, and one less were no majority")


def leaders_host(site: Site) -> str:
    """The host of etcd's leader. Where that has another part in the test, another member leads from now on. Raises
    LeftOutError where there is no fit one, ProvisionError when etcd does not answer."""
    api_ready([site.pool.session(host) for host in site.servers])
    time.sleep(_SETTLED)
    asked = next(iter(site.members))
    found = read_voters(site.pool.session(asked), site.members[asked].etcdctl)
    hosts = {_canonical(each.address): host for host, each in site.members.items()}
    by_host = {hosts[name]: each for each in found if (name := _canonical(each.host)) in hosts}
    _check_majority(found)
    leader = next((host for host, each in by_host.items() if each.leads), "")
    host = chosen(by_host, leader, unfit(site))
    if host != leader:
        if not leader:
            raise LeftOutError("the leader of etcd is no host of the inventory")
        hand_over(site.pool.session(leader), site.members[leader].etcdctl, by_host[host])
        time.sleep(_HANDED_OVER)
    return host


def chosen(voters: Mapping[str, Voter], leader: str, reasons: Mapping[str, str]) -> str:
    """The leader's host, or the last one that is fit. Raises LeftOutError when none is."""
    fit = [host for host, each in voters.items() if each.answers and host not in reasons]
    if not fit:
        raise LeftOutError("; ".join(f"{host} {reasons.get(host, 'does not answer')}" for host in voters))
    return leader if leader in fit else fit[-1]


def unfit(site: Site) -> dict[str, str]:
    """Why a host shall not be lost for this figure, which is etcd's, by host; nothing of those that may be."""
    first: Sequence[str] = list(site.servers)[:1]
    reasons = dict.fromkeys(site.balancers, "is a load balancer")
    reasons |= dict.fromkeys(first, "keeps the lock of this run")
    reasons |= {
        host: "is the endpoint"
        for host, each in site.members.items()
        if site.endpoint in (host, each.address)
    }
    reasons |= {site.client: "is where clients look from"}
    if len(site.servers) == 1:
        reasons |= dict.fromkeys(site.servers, "has the only API server")
    return reasons


def await_leader_back(site: Site, host: str) -> None:
    """Waits until the host's services that were lost with it answer again. Raises ProvisionError."""
    session = site.pool.session(host)
    await_member(session, site.members[host].etcdctl)
    if host in site.servers:
        api_ready([session])


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
