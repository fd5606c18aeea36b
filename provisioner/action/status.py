"""`status`: what runs, how well, and what `apply` would change; nothing is changed and no lock is taken.

One exec a host for facts, one for everything that is asked of it, and the plan's own probe beside that.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from provisioner.action.carried import Carried
from provisioner.action.connect import connect_to
from provisioner.action.gather import gather_each, usable
from provisioner.action.load import Request, load, settings_of
from provisioner.action.plan import plan_of
from provisioner.action.prepare import compile_with
from provisioner.action.transition import record_of
from provisioner.action.virtualrouter import has_address
from provisioner.engine.events import silent
from provisioner.engine.health import ClusterHealth, Component, HostHealth, NodeHealth
from provisioner.engine.history import records
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.inventory.aliases import CONTROL_PLANE, ETCD, LOAD_BALANCER, NODE, REGISTRY, ROLES
from provisioner.inventory.model import Inventory
from provisioner.kube import health
from provisioner.kube.healthscript import UNITS, Section, etcdctl_of, health_script, sections
from provisioner.pki.expiry import READ_CERTIFICATES, parse_expiries
from provisioner.playbook.distributions import distribution_of
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session
from provisioner.resources.modprobe import modules_of
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec

Answers = Mapping[str, Section]

_FIREWALL = "provision-firewall"
"""The unit that opens ports (playbooks/firewall.yaml)."""
_SHARING = "keepalived"
_DEADLINE = 20.0
_CONNECTING = 3.0
"""Seconds in which a host has to answer, unless the inventory gives it fewer: all is to be said in five."""
_PATIENCE, _PATIENCE_UNREADY = 60.0, 0.3
"""Seconds that the plan may take once all else is answered: with API servers that are ready, and without."""
_ROLE_NAMES = {CONTROL_PLANE: "control-plane", ETCD: "etcd", NODE: "worker", REGISTRY: "registry"}


@dataclass(frozen=True)
class _Reading:
    """What the hosts said. `lost` has a reason for each that was not reached, or could not be read."""

    inventory: Inventory
    spec: ClusterSpec
    facts: Mapping[str, Facts]
    answers: Mapping[str, Answers]
    lost: Mapping[str, str]
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def installed(self) -> bool:
        """Some host has belonged to a cluster."""
        return any(each.mark or each.state for each in self.facts.values())

    def group(self, name: str) -> list[str]:
        """The group's hosts that have answered."""
        return [host.name for host in self.inventory.group(name) if host.name in self.answers]


@dataclass(frozen=True)
class _Drift:
    """Changes by host; None with a reason when no plan could be made."""

    counts: Mapping[str, int] | None
    reason: str = ""


def read_status(request: Request) -> ClusterHealth:
    """Raises InputError, and ProvisionError when a host that is reached cannot be used at all."""
    inventory, spec = load_cluster(request.inventory)
    with connect_to(_hurried(inventory)) as pool:
        modules = modules_of(spec.proxy.mode)
        asked = gather_each(
            pool,
            _hosts(inventory),
            modules,
            firewall=spec.firewall != "ignore",
            existing=spec.existing,
            settings=settings_of(spec),
        )
        lost = {host: _told(host, each) for host, each in asked.items() if isinstance(each, UnreachableError)}
        facts = usable({host: each for host, each in asked.items() if host not in lost})
        drift, answers = _both(
            pool, lambda: _drift(request, facts, pool), lambda: _ask(inventory, spec, pool, facts)
        )
    lost |= {host: _told(host, each) for host, each in answers.items() if isinstance(each, Exception)}
    read = {host: each for host, each in answers.items() if not isinstance(each, Exception)}
    return _judged(_Reading(inventory, spec, facts, read, lost), drift, request)


def _hosts(inventory: Inventory) -> list[str]:
    """Those with a role."""
    return [host.name for host in inventory.hosts.values() if set(host.groups) & set(ROLES)]


def _hurried(inventory: Inventory) -> Inventory:
    """The same hosts, with less patience for those that do not answer."""
    hosts = {
        name: replace(
            host, connection=replace(host.connection, timeout=min(host.connection.timeout, _CONNECTING))
        )
        for name, host in inventory.hosts.items()
    }
    return replace(inventory, hosts=hosts)


def _judged(reading: _Reading, drift: _Drift, request: Request) -> ClusterHealth:
    spec = reading.spec
    whole = ClusterHealth(
        name=spec.name,
        wanted=spec.kubernetes.version,
        network=_plugin(reading),
        proxy=spec.proxy.mode if spec.network.kube_proxy else "none",
        at=reading.now,
        hosts=tuple(_host(reading, host, drift) for host in _hosts(reading.inventory)),
        drift_unknown=drift.reason if reading.installed or not drift.reason else "there is no cluster yet",
        last_run=next(records(request.inventory), None),
    )
    whole = _with_identity(whole, reading)
    return _with_nodes(_with_components(whole, reading), reading) if reading.installed else whole


def _plugin(reading: _Reading) -> str:
    """The one that pods are in, which a migration may have made another one than the inventory's."""
    try:
        at_work = record_of(reading.facts, reading.inventory).words
    except ProvisionError:  # of a damaged file: the plan tells that
        at_work = ""
    return at_work or reading.spec.network.plugin


def _with_identity(whole: ClusterHealth, reading: _Reading) -> ClusterHealth:
    """Who the cluster is by the hosts' files: nobody may be known yet, and they may contradict each other."""
    planes = reading.group(CONTROL_PLANE)
    if not reading.installed:
        return replace(
            whole, faults=("there is no cluster yet: `provision apply` makes it",) if planes else ()
        )
    if not planes:  # nobody is left who could say; that they are lost is said already
        return whole
    carried = Carried.of(reading.facts, planes)
    try:
        state = carried.agreed(reading.spec.name)
    except ProvisionError as fault:
        return replace(whole, faults=tuple(fault.reason.splitlines()))
    bare = tuple(
        f"{host} has no copy of the cluster's state" for host in planes if host not in carried.states
    )
    number = min(int(json.loads(text.reveal())["format"]) for text in carried.states.values())
    return replace(whole, uuid=state.uuid, state_format=number, faults=bare)


def _with_components(whole: ClusterHealth, reading: _Reading) -> ClusterHealth:
    components: list[Component] = []
    versions: dict[str, str] = {}
    for host in reading.group(CONTROL_PLANE):
        components += health.control_plane(host, reading.answers[host])
        if version := health.server_version(reading.answers[host]):
            versions["kubernetes"] = version
        if version := health.runtime_version(reading.answers[host]):
            versions["runtime"] = version
    for host in reading.group(ETCD):
        member, version = health.etcd_member(host, reading.answers[host])
        components.append(member)
        if version:
            versions["etcd"] = version
    vip = reading.spec.load_balancer.vip or ""
    holders = [host for host in reading.group(LOAD_BALANCER) if vip and has_address(vip, reading.facts[host])]
    for host in reading.group(LOAD_BALANCER):
        components.append(health.load_balancer(host, reading.answers[host], vip if host in holders else ""))
    faults = (*whole.faults, *_of_the_vip(vip, holders, reading))
    return replace(whole, components=tuple(components), versions=versions, faults=faults)


def _of_the_vip(vip: str, holders: Sequence[str], reading: _Reading) -> Iterator[str]:
    """What is wrong with who has it. One that is not read may be the one."""
    if len(holders) > 1:
        yield f"{' and '.join(holders)} have the virtual address {vip} at the same time"
    if (
        vip
        and not holders
        and len(reading.group(LOAD_BALANCER)) == len(reading.inventory.group(LOAD_BALANCER))
    ):
        yield f"no load balancer has the virtual address {vip}"


def _with_nodes(whole: ClusterHealth, reading: _Reading) -> ClusterHealth:
    """The spec's nodes, then those that only the cluster has."""
    lists = (health.nodes(reading.answers[host], reading.now) for host in reading.group(CONTROL_PLANE))
    found = next((nodes for nodes in lists if nodes is not None), None)
    if found is None and not reading.group(CONTROL_PLANE):
        return whole
    if found is None:
        return replace(whole, faults=(*whole.faults, "the nodes are not known: no API server tells"))
    by_name = {node.name: node for node in found}
    wanted = [name for name, node in reading.spec.nodes.items() if node.node]
    nodes = [
        _node(reading, by_name.get(name) or NodeHealth(name, ready=False, joined=False)) for name in wanted
    ]
    strange = [replace(node, known=False) for name, node in by_name.items() if name not in wanted]
    asked = (health.requests(reading.answers[host], wanted) for host in reading.group(CONTROL_PLANE))
    warnings = next((each for each in asked if each), [])
    return replace(whole, nodes=(*nodes, *strange), warnings=tuple(warnings))


def _node(reading: _Reading, node: NodeHealth) -> NodeHealth:
    groups = reading.inventory.hosts[node.name].groups
    named = [name for group, name in _ROLE_NAMES.items() if group in groups]
    return replace(node, roles=tuple(dict.fromkeys((*named, *node.roles))))


def _host(reading: _Reading, host: str, drift: _Drift) -> HostHealth:
    if host in reading.lost:
        return HostHealth(host, reached=False, reason=reading.lost[host])
    answers = reading.answers[host]
    certificates = answers.get("certificates")
    return HostHealth(
        host,
        reached=True,
        units=health.units(answers) if reading.installed else (),
        certificates=parse_expiries(certificates.text) if certificates else (),
        drift=None if drift.counts is None else drift.counts.get(host, 0),
        changed=health.last_change(answers),
    )


def _ask(
    inventory: Inventory, spec: ClusterSpec, pool: Pool, facts: Mapping[str, Facts]
) -> dict[str, Answers | Exception]:
    """Everything but facts and plan, one exec a host."""
    planes = {host.name for host in inventory.group(CONTROL_PLANE)}

    def ask(session: Session) -> Answers:
        roles = set(inventory.hosts[session.host].groups)
        roles |= {NODE} if spec.nodes[session.host].node else set()
        own = _services(roles, spec, facts[session.host])
        certificates = {"certificates": READ_CERTIFICATES}
        nodes, existing = session.host in planes, spec.existing
        if existing is None:
            script = health_script(roles, certificates, nodes=nodes, services=own)
        else:
            etcdctl = etcdctl_of(existing, spec.nodes[session.host].address)
            script = health_script(
                roles, certificates, nodes=nodes, services=own, etcdctl=etcdctl, own_certificates=False
            )
        return sections(session.run(script, deadline=_DEADLINE, what="the questions of status").stdout)

    return pool.map(list(facts), ask)


def _services(roles: Collection[str], spec: ClusterSpec, facts: Facts) -> list[str]:
    """Those that not every host of a role has, or not by the same name."""
    managed = spec.firewall == "manage" and facts.firewall
    registry = distribution_of(facts).registry_unit if REGISTRY in roles else ""
    local = NODE in roles and CONTROL_PLANE not in roles and spec.load_balancer.mode == "local"
    sharing = LOAD_BALANCER in roles and spec.load_balancer.vip is not None
    proxied = NODE in roles and spec.network.kube_proxy
    return [
        *(["kube-proxy"] if proxied else []),
        *([registry] if registry else []),
        *(UNITS[LOAD_BALANCER] if local else []),
        *([_SHARING] if sharing else []),
        *([_FIREWALL] if managed else []),
    ]


def _drift(request: Request, facts: Mapping[str, Facts], pool: Pool) -> _Drift:
    try:
        loaded = load(request)
        if not any(host.name in facts for host in loaded.inventory.group(CONTROL_PLANE)):
            return _Drift(None, "no control-plane host was reached, and they have the cluster's state")
        prepared = compile_with(loaded, facts, silent)
        plan = plan_of(prepared, pool, silent, texts=False)
    except ProvisionError as fault:
        return _Drift(None, fault.reason)
    return _Drift(Counter(host for _, host, _ in plan.changes()))


def _both(
    pool: Pool, plan: Callable[[], _Drift], ask: Callable[[], dict[str, Answers | Exception]]
) -> tuple[_Drift, dict[str, Answers | Exception]]:
    """Plans and asks at the same time. An API server that hangs would hold up a plan for minutes: then it is left."""
    with ThreadPoolExecutor(1) as threads:
        planning = threads.submit(plan)
        try:
            answers = ask()
            ready = all(_ready(each) for each in answers.values())
            return planning.result(_PATIENCE if ready else _PATIENCE_UNREADY), answers
        except TimeoutError:
            pool.close()  # without connections the thread ends now
            reason = "it takes too long" if ready else "an API server that is not ready holds up the plan"
            return _Drift(None, reason), answers
        except BaseException:
            pool.close()
            raise


def _ready(answers: Answers | Exception) -> bool:
    return not isinstance(answers, Exception) and ("readyz" not in answers or answers["readyz"].status == 0)


def _told(host: str, fault: Exception) -> str:
    return str(fault).removeprefix(f"{host}: ").splitlines()[0]
