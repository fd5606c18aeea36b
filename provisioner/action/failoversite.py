"""What a test of fail-over is about: who balances, what they share, and from where it is looked at."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.action.failoverleader import check_others_serve, check_spared, leaders_host
from provisioner.action.virtualrouter import link_of, virtual_router
from provisioner.engine.events import Emit
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.failover import faults
from provisioner.failover.client import Client
from provisioner.failover.faults import Fault
from provisioner.failover.wire import Wire
from provisioner.kube.etcdctl import etcdctl
from provisioner.kube.healthscript import etcdctl_of

if TYPE_CHECKING:
    from provisioner.action.load import Loaded
    from provisioner.action.prepare import Prepared
    from provisioner.playbook.facts import Facts
    from provisioner.remote.pool import Pool
    from provisioner.spec.model import ClusterSpec

GATE = (faults.KEEPALIVED, faults.NGINX, faults.APIS)
"""What costs no reboot, a planned hand-over first. The last one comes last, because nginx then takes its time to come
back."""
ALL = ("", *GATE, faults.LINK, faults.POWER)
_SERVER_PORT = 6443


_MAJORITY = 3
"""Members of etcd, of which one may be lost."""


@dataclass(frozen=True)
class Member:
    """A host's member of etcd, the command line by which the host asks it, and the link that has its address."""

    address: str
    etcdctl: str
    link: str


@dataclass(frozen=True)
class Site:
    """`vip` None: no address moves, and only the death of an API server or its host is survived. `links` has the link
    of each load balancer on which the address is, `servers` the addresses of the API servers; `authority` is their CA,
    as PEM; `members` are etcd's."""

    pool: Pool
    endpoint: str
    port: int
    vip: str | None
    links: Mapping[str, str]
    servers: Mapping[str, str]
    client: str
    authority: str
    emit: Emit
    members: Mapping[str, Member] = field(default_factory=dict)

    @property
    def balancers(self) -> tuple[str, ...]:
        return tuple(self.links)

    def names(self) -> tuple[str, ...]:
        """All faults that it can survive."""
        killed = (faults.SERVER,) if len(self.servers) > 1 else ()
        lost = (faults.LEADER,) if len(self.members) >= _MAJORITY else ()
        return (*(ALL if self.vip is not None else ("",)), *killed, *lost)

    def fault(self, name: str, holder: str) -> tuple[Fault | None, str]:
        """The fault of a name, and the host that has it: the holder of the address, an API server's, or that of etcd's
        leader. Raises LeftOutError, also where the cluster would not outlive what the holder has beside the address."""
        if name == faults.SERVER:
            host = self._server()
            check_others_serve(self, host)  # the fault before may have rebooted the host of one
            return faults.server_killed(), host
        if name == faults.LEADER:
            host = leaders_host(self)
            return faults.leaders_host_lost(self.members[host].link), host
        if name in (faults.LINK, faults.POWER):
            check_spared(self, holder)
        made: dict[str, Callable[[], Fault]] = {
            faults.KEEPALIVED: faults.keepalived_stopped,
            faults.NGINX: faults.nginx_stopped,
            faults.APIS: lambda: faults.apis_out_of_reach(list(self.servers.values()), _SERVER_PORT),
            faults.LINK: lambda: faults.link_cut(self.links[holder]),
            faults.POWER: lambda: faults.powered_off(self.links[holder]),
        }
        return (made[name]() if name else None), holder

    def _server(self) -> str:
        """The last API server's host, or the one before when clients look from that."""
        return [each for each in self.servers if each != self.client][-1]

    @contextmanager
    def asking(self, count: int) -> Iterator[Client]:
        """A client beside the block, on connections that the client's host makes for us. Raises ProvisionError when
        it does not get `count` answers in a row, or that host makes none."""
        context = ssl.create_default_context(cadata=self.authority)
        with self.pool.dial(self.client) as session:

            def connect(until: float) -> Wire:
                left = max(0.1, until - time.monotonic())
                channel = session.forward(self.endpoint, self.port, left)
                return Wire(channel, context, self.endpoint, until)

            try:  # what is forbidden altogether is found before anything is broken
                connect(time.monotonic() + 5).close()
            except OSError as fault:
                raise self._silent(str(fault)) from fault
            with Client(connect) as client:
                if not client.await_good(count, time.monotonic(), 10):
                    raise self._silent(client.answers[-1].why if client.answers else "no answer")
                yield client

    def _silent(self, why: str) -> ProvisionError:
        return ProvisionError(
            f"the API does not answer {self.client} at {self.endpoint}, port {self.port}, all the time: {why}",
            "look at `journalctl -u api-load-balancer -u keepalived` on the load balancers",
        )


def check_failover(loaded: Loaded) -> tuple[str, ...]:
    """What will be done to a cluster that is in use, for whoever has to agree. Raises InputError where there is
    nothing to try, or the run leaves out a part of it."""
    file = str(loaded.request.inventory)
    balancers = [host.name for host in loaded.inventory.group("load_balancer")]
    if loaded.spec is None or not balancers:
        raise InputError(
            [
                Problem(
                    file,
                    0,
                    0,
                    "--failover: there is no load balancer",
                    "put hosts in the group load_balancer",
                )
            ]
        )
    if loaded.request.partial or loaded.request.playbook:
        raise InputError(
            [
                Problem(
                    "--failover",
                    0,
                    0,
                    "is about all load balancers",
                    "leave --limit, --tags, --stage, --playbook",
                )
            ]
        )
    servers = loaded.inventory.group("kube_control_plane")
    if loaded.spec.load_balancer.vip is None and len(servers) < 2:
        raise InputError(
            [Problem(file, 0, 0, "--failover: nothing can fail over: one API server, and no shared address")]
        )
    killed = ("kills an API server, whose connections break",) if len(servers) > 1 else ()
    lost = len(loaded.inventory.group("etcd")) >= _MAJORITY
    rebooted = ("reboots the host of etcd's leader, with all that runs on it",) if lost else ()
    if loaded.spec.load_balancer.vip is None:
        return (*killed, *rebooted)
    names = ", ".join(balancers)
    what = "stops keepalived and nginx, cuts off the API servers, cuts the link, reboots"
    return (
        f"{names}: {what}, always on the one that has the address",
        "for up to 3 s at a time the API does not answer, and connections to it break (`kubectl exec`, watches)",
        *killed,
        *rebooted,
    )


def site_of(prepared: Prepared, pool: Pool, emit: Emit) -> Site | None:
    """None where the run leaves a load balancer out, or there is none, or no other host to look from."""
    cluster, hosts = prepared.cluster, prepared.loaded.hosts
    if cluster is None or not cluster.balancers or not set(cluster.balancers) <= set(hosts):
        return None
    client = _client(prepared, [host for host in hosts if host not in cluster.balancers])
    if client is None:
        return None
    spec, facts = cluster.spec, prepared.facts
    routers = {each: virtual_router(spec, cluster.balancers, each, facts[each]) for each in cluster.balancers}
    return Site(
        pool=pool,
        endpoint=spec.endpoint.host,
        port=spec.endpoint.port,
        vip=spec.load_balancer.vip,
        links={host: router.link if router else "" for host, router in routers.items()},
        servers={host: spec.nodes[host].address for host in cluster.control_planes},
        client=client,
        authority=cluster.authority,
        emit=emit,
        members=_members(prepared, spec),
    )


def _members(prepared: Prepared, spec: ClusterSpec) -> dict[str, Member]:
    """None where the run leaves one out."""
    loaded = prepared.loaded
    hosts = [host.name for host in loaded.inventory.group("etcd")]
    if not set(hosts) <= set(loaded.hosts):
        return {}
    return {host: _member(prepared.facts[host], spec, host) for host in hosts}


def _member(facts: Facts, spec: ClusterSpec, host: str) -> Member:
    address, existing = spec.nodes[host].address, spec.existing
    return Member(
        address,
        etcdctl() if existing is None else etcdctl_of(existing, address),
        link_of(address, facts) or facts.default_link,
    )


def _client(prepared: Prepared, others: Sequence[str]) -> str | None:
    """A host from which clients look: best a worker, because the others have work with what is broken."""
    cluster = prepared.cluster
    workers = set(cluster.node_names) - set(cluster.control_planes) if cluster else set()
    return next((host for host in others if host in workers), others[0] if others else None)
