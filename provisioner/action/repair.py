"""`repair`: faults of nodes' pod networks are found, told with their evidence, and mended one by one.

What counts as mended is only what is read again afterwards. Nothing is done to a node that has no fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from provisioner.action.connect import connect_to
from provisioner.action.consent import check_consent
from provisioner.action.load import Loaded
from provisioner.action.locks import lock
from provisioner.action.reach import all_reached
from provisioner.action.repairing import Mender
from provisioner.action.telling import telling, told_of, unchanged
from provisioner.engine.events import Changed, Emit, Failed, FaultFound, Note, Step
from provisioner.errors import InputError, Problem, ProvisionError, UnreachableError
from provisioner.inventory.words import nearest
from provisioner.kube.cnicluster import ClusterNode, node_of, read_cluster
from provisioner.kube.cnifaults import FAULTS, SUBNETS, Fault, Seen, faults_of, is_unwritten
from provisioner.kube.cniread import NodeNetwork, parse_node
from provisioner.kube.cniscript import read_script
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session
from provisioner.spec.model import ClusterSpec

_AGAIN = 30.0
"""Seconds in which a kubelet tries again what it could not do."""

Confirm = Callable[[Sequence[str]], bool]
FOUND = 2
"""The exit code of a look that found something."""


@dataclass(frozen=True)
class Repair:
    """What the user asked for: the kinds of faults, and whether they are only told."""

    only: tuple[str, ...] = FAULTS
    look: bool = False


def chosen(text: str | None) -> tuple[str, ...]:
    """The kinds that are meant by a list of them, separated by commas; all of them without one. Raises InputError."""
    if text is None:
        return FAULTS
    names = [each.strip() for each in text.split(",") if each.strip()]
    for name in names:
        if name not in FAULTS:
            near = nearest(name, FAULTS)
            hint = f"did you mean '{near}'?" if near else f"one of {', '.join(FAULTS)}"
            raise InputError([Problem("--only", 0, 0, f"there is no fault '{name[:40]}'", hint)])
    if not names:
        raise InputError(
            [Problem("--only", 0, 0, "it names no fault", f"one of {', '.join(FAULTS)}, or leave it out")]
        )
    return tuple(each for each in FAULTS if each in names)


def repair(loaded: Loaded, wanted: Repair, emit: Emit, confirm: Confirm) -> int:
    """Returns the exit code. Raises InputError, ConsentError, LockedError and UnreachableError before anything is
    changed, and ProvisionError when the cluster cannot be asked."""
    if loaded.spec is None:
        raise InputError([Problem(str(loaded.request.inventory), 0, 0, "there is no cluster to repair")])
    site = _Site(loaded, loaded.spec, wanted)
    if not site.hosts:
        reason = f"no host that '{loaded.request.limit}' matches is a node of the cluster"
        nodes = ", ".join(name for name, node in loaded.spec.nodes.items() if node.node)
        raise InputError([Problem("--limit", 0, 0, reason, f"nodes are {nodes}")])
    if wanted.look:
        with connect_to(loaded.inventory, loaded.hosts) as pool:
            return _looked(site, pool, emit)
    with telling(loaded, "repair", site.options, emit, site.hosts) as told, ExitStack() as stack:
        pool = stack.enter_context(connect_to(loaded.inventory, loaded.hosts))
        site = _reached(site, pool, told.record)
        lock(stack, pool, loaded, sorted({loaded.state_host, *site.hosts}))
        code, told.changed = _repaired(site, pool, told.record, confirm)
        code = code or (UnreachableError.exit_code if site.lost else 0)
        told.ok, told.execs = code == 0, pool.execs
    return code


def _looked(site: _Site, pool: Pool, emit: Emit) -> int:
    with told_of(site.loaded, "repair", site.options, emit, site.hosts) as told:
        site = _reached(site, pool, emit)
        told.found = len(site.told(pool, emit))
        told.ok, told.execs = not site.lost, pool.execs
    return FOUND if told.found else UnreachableError.exit_code if site.lost else 0


def _reached(site: _Site, pool: Pool, emit: Emit) -> _Site:
    """Without nodes that cannot be reached, which is told: the others' faults are no less. Raises UnreachableError
    where that are all."""
    answers = pool.map(site.hosts, lambda _: None)
    lost = {host: each for host, each in answers.items() if isinstance(each, UnreachableError)}
    all_reached(
        {host: each for host, each in answers.items() if host not in lost or len(lost) == len(answers)}
    )
    for fault in lost.values():
        emit(Note(level="warning", message=f"not judged: {fault.reason}", hint=fault.hint))
    return replace(site, lost=frozenset(lost))


@dataclass(frozen=True)
class _Site:
    """The cluster, and what is asked for of it."""

    loaded: Loaded
    spec: ClusterSpec
    wanted: Repair
    lost: frozenset[str] = frozenset()
    """Nodes that cannot be reached."""

    @property
    def hosts(self) -> list[str]:
        """The nodes that are looked at, in inventory order."""
        loaded = self.loaded
        limit = loaded.request.limit
        limited = {each.name for each in loaded.inventory.match(limit)} if limit else set(loaded.hosts)
        return [
            each
            for each in loaded.hosts
            if each in limited - self.lost and each in self.spec.nodes and self.spec.nodes[each].node
        ]

    @property
    def options(self) -> list[str]:
        """The words behind the inventory."""
        limit, only = self.loaded.request.limit, self.wanted.only
        words = [*(["--look"] if self.wanted.look else []), *(["--limit", limit] if limit else [])]
        return [*words, *(["--only", ",".join(only)] if only != FAULTS else [])]

    def told(self, pool: Pool, emit: Emit) -> list[Fault]:
        """The faults that are there and meant, which are told, and what could not be judged."""
        began = time.monotonic()
        nodes = self.read(pool)
        for doubt in (doubt for each in nodes for doubt in doubts(each)):
            emit(Note(level="warning", message=doubt))
        every = [each for seen in nodes for each in faults_of(seen)]
        found = [each for each in every if each.kind in self.wanted.only]
        if others := sorted({f"{each.kind} on {each.host}" for each in every if each not in found}):
            emit(Note(level="warning", message=f"left alone, because of --only: {', '.join(others)}"))
        for each in found:
            emit(
                FaultFound(
                    fault=each.kind,
                    host=each.host,
                    things=each.things,
                    why=each.why,
                    mend=each.mend,
                    cost=each.cost,
                )
            )
        many = f"{len(nodes)} node{'s' * (len(nodes) != 1)}, {len(found)} fault{'s' * (len(found) != 1)}"
        emit(Step(task="read", subject=many, seconds=time.monotonic() - began, changed=False))
        return found

    def faults(self, nodes: Sequence[Seen]) -> list[Fault]:
        """Those that are meant, by node, in the order in which they are mended."""
        return [each for seen in nodes for each in faults_of(seen) if each.kind in self.wanted.only]

    def read(self, pool: Pool) -> list[Seen]:
        """The nodes; of a cluster that others have built those that it knows, since there a control plane need be none.
        Raises as `read_cluster`, and UnreachableError."""

        def ask(session: Session) -> NodeNetwork:
            answer = session.run(read_script(), deadline=90, what="the reading of its pod network")
            return parse_node(answer.stdout)

        nodes = self.cluster(pool)[1]
        answers = all_reached(pool.map(self.hosts, ask))
        networks = frozenset(f"{each.namespace}.{each.name}" for each in self.spec.network.attachments)
        own = self.spec.existing is None
        seen = (
            Seen(host, here, node_of(nodes, host, self.spec.nodes[host].address), own=own, networks=networks)
            for host, here in answers.items()
        )
        return [each for each in seen if own or each.node is not None]

    def cluster(self, pool: Pool) -> tuple[str, list[ClusterNode]]:
        """The first control plane whose API server answers, and what that says. Raises ProvisionError of the last."""
        planes = [host.name for host in self.loaded.inventory.group("kube_control_plane")]
        for plane in planes[:-1]:
            try:
                return plane, read_cluster(pool.session(plane))
            except ProvisionError:
                continue
        return planes[-1], read_cluster(pool.session(planes[-1]))


def _left(site: _Site, pool: Pool) -> list[Fault]:
    """What is wrong after all. A kubelet tries again by itself what could not be done before the mend, after some
    seconds: what it complained of then is given that time."""
    end = time.monotonic() + _AGAIN
    while True:
        left = site.faults(site.read(pool))
        if all(each.kind != "sandboxes" for each in left) or time.monotonic() > end:
            return left
        time.sleep(2)


def _repaired(site: _Site, pool: Pool, emit: Emit, confirm: Confirm) -> tuple[int, dict[str, int]]:
    """(the exit code, how many faults were mended by host)."""
    found = site.told(pool, emit)
    if not found:
        emit(Note(message="nothing is to be mended"))
        return 0, {}
    asked = [each for each in found if each.mend]
    with unchanged(""):
        check_consent([f"{each.host}: {each.mend}; it costs: {each.cost}" for each in asked], confirm)
    mender = Mender(site.loaded, pool, emit, site.cluster(pool)[0])
    failed = [each for each in asked if not mender.mend(each)]
    left = _left(site, pool)
    stay, changed = {_identity(each) for each in left}, dict[str, int]()
    for each in asked:
        if _identity(each) not in stay and each not in failed:
            changed[each.host] = changed.get(each.host, 0) + 1
            emit(Changed(stage="repair", host=each.host, resource=_resource(each), action="update"))
    known = {(each.kind, each.host, thing) for each in found for thing in each.things}
    for each in left:
        hint = "" if each.mend else each.cost
        new = known.isdisjoint((each.kind, each.host, thing) for thing in each.things)
        reason = f"found since: {each.why}" if new else f"still wrong: {each.why}"
        hint = hint or ("the same command mends it" if new else "")
        emit(Failed(stage="repair", host=each.host, resource=_resource(each), reason=reason, hint=hint))
    if mender.unreached:
        return UnreachableError.exit_code, changed
    return (1 if left or failed else 0), changed


def doubts(seen: Seen) -> Iterator[str]:
    """Why there may be faults that are not told."""
    configuration = seen.here.configuration
    if seen.here.known is None:
        yield f"{seen.host}: its runtime does not answer: addresses and sandboxes were not judged"
    if seen.node is None:
        yield f"{seen.host}: the cluster has no such node: its bridge and its condition were not judged"
    elif configuration is None:
        yield f"{seen.host}: the runtime has no CNI configuration: the network's plug-in has not put it there"
    elif not configuration.plugins:
        yield f"{seen.host}: {configuration.path} is no CNI configuration: the runtime cannot use it"
    elif is_unwritten(seen):
        cidrs = ", ".join(seen.node.pod_cidrs) or "none"
        yield (
            f"{seen.host}: {SUBNETS} is not there, or not of the node's pod CIDR ({cidrs}): flannel's plug-in makes no "
            "pod with it, and the bridge was not judged; the log of flannel's agent on the node tells why"
        )


def _identity(fault: Fault) -> tuple[str, str, str, bool]:
    """What is one fault, as long as something is wrong of its things."""
    return fault.kind, fault.host, fault.network, fault.from_bundle


def _resource(fault: Fault) -> str:
    return f"{fault.kind}:{', '.join(fault.things[:3])}{', …' * (len(fault.things) > 3)}"
