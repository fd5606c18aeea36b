"""`remove`: a host leaves the cluster and, where it can be reached, is left without what the tool has put there.

The order is what keeps the cluster whole. First the rest is made to do without the host (load balancers, API servers,
firewalls), which is an apply without it and ends with its proof; its pods go elsewhere before that. Then its member
leaves etcd, then its services end, and last the cluster forgets it. Each step finds its work done when it comes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from provisioner.action.carry import carry_out
from provisioner.action.clearing import clear
from provisioner.action.connect import connect_to
from provisioner.action.consent import check_consent
from provisioner.action.load import Loaded
from provisioner.action.locks import lock
from provisioner.action.plan import plan_of
from provisioner.action.prepare import Prepared, gather, prepare
from provisioner.action.remaining import place_of, without
from provisioner.action.telling import telling, unchanged
from provisioner.engine.danger import dangers
from provisioner.engine.events import Emit, Note, Step
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.inventory.aliases import CONTROL_PLANE, ETCD, LOAD_BALANCER
from provisioner.kube.halt import hand_over_script
from provisioner.kube.leaving import delete_node, drain, is_node
from provisioner.kube.members import Member, check_majority, read_members, remove_member
from provisioner.playbook.facts import Facts
from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session

Confirm = Callable[[Sequence[str]], bool]


@dataclass(frozen=True)
class Removal:
    """What the user asked for. `dead`: the host is gone for good, and not asked for; `drain_seconds`: how long its pods
    may take to leave; `force`: also those that nothing makes anew."""

    host: str
    dead: bool = False
    drain_seconds: int = 300
    force: bool = False


@dataclass
class _Run:
    """One removal at work."""

    removal: Removal
    whole: Loaded
    rest: Loaded
    pool: Pool
    emit: Emit
    seconds: dict[str, float] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.removal.host

    @property
    def groups(self) -> tuple[str, ...]:
        """Those that the host is in."""
        return self.whole.inventory.hosts[self.host].groups

    @property
    def plane(self) -> Session:
        return self.pool.session(self.rest.state_host)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.changed.setdefault(name, 1)
        self.seconds[name] = time.monotonic() - began
        self.emit(Step(task=name, subject=self.host, seconds=self.seconds[name]))


def remove(loaded: Loaded, removal: Removal, emit: Emit, confirm: Confirm) -> int:
    """Returns the exit code. Raises InputError, ConsentError, UnreachableError for a host that is not said to be dead,
    and ProvisionError of the step that failed; the same command goes on then."""
    rest = without(loaded, removal.host)
    with telling(loaded, "remove", _options(removal), emit) as told, ExitStack() as stack:
        pool = stack.enter_context(connect_to(loaded.inventory, rest.hosts))
        run = _Run(removal, loaded, rest, pool, told.record)
        code = _removed(run, stack, confirm)
        told.ok, told.changed, told.phases, told.execs = code == 0, run.changed, run.seconds, pool.execs
    return code


def _options(removal: Removal) -> list[str]:
    return [removal.host, *["--dead"] * removal.dead, *["--force"] * removal.force]


def _removed(run: _Run, stack: ExitStack, confirm: Confirm) -> int:
    held, facts, own = _read(run, stack)
    prepared = prepare(run.rest, run.pool, run.emit, facts)
    if prepared.fresh is not None:
        raise ProvisionError("there is no cluster on these hosts yet", "make it with `provision apply`")
    members, leaving = _member(run)
    if leaving is not None:
        check_majority(members, leaving)
    node = is_node(run.plane, run.host)
    confirm = _agreed(run, prepared, _told(run, leaving, node=node), confirm)
    if own is None:
        # Nobody is to wait for what is dead: neither etcd nor the network's DaemonSet.
        _out_of_etcd(run, leaving, members)
        _forget(run)
        code = _without(run, stack, prepared, held, confirm)
    else:
        _hand_over(run, node=node)
        code = _without(run, stack, prepared, held, confirm)
        if code == 0:
            _out_of_etcd(run, leaving, members)
            with run.step("cleared"):
                run.changed["cleared"] = clear(prepared, run.pool, run.host, own, run.emit)
            _forget(run)
    if code == 0:
        _look_again(run)
        run.emit(_farewell(run))
    return code


def _agreed(run: _Run, prepared: Prepared, told: Sequence[str], confirm: Confirm) -> Confirm:
    """Asks once for all of it, before anything is done: also for what the rest's apply would ask for later. Returns who
    says yes to that. Raises ConsentError."""
    plan = plan_of(prepared, run.pool, lambda _: None, texts=False)
    later = dangers(plan, established=prepared.established)
    with unchanged(""):
        check_consent([*told, *later], confirm)
    return lambda reasons: set(reasons) <= set(later) or confirm(reasons)


def _hand_over(run: _Run, *, node: bool) -> None:
    """What it does for others is done by others before these are told to do without it."""
    if node:
        with run.step("drained"):
            drain(run.plane, run.host, seconds=run.removal.drain_seconds, force=run.removal.force)
    if LOAD_BALANCER in run.groups:
        # Else two would hold the address for a while.
        with run.step("address handed over"):
            run.pool.session(run.host).run(hand_over_script(), deadline=60)


def _without(
    run: _Run, stack: ExitStack, prepared: Prepared, held: dict[str, RemoteLock], confirm: Confirm
) -> int:
    _, outcome = carry_out(prepared, run.pool, run.emit, stack, held, None, confirm)
    run.seconds |= outcome.seconds
    run.changed |= outcome.changed
    return outcome.exit_code


def _out_of_etcd(run: _Run, leaving: Member | None, members: Sequence[Member]) -> None:
    if leaving is not None:
        with run.step("out of etcd"):
            remove_member(_etcd_session(run), members, leaving)


def _forget(run: _Run) -> None:
    with run.step("forgotten"):
        delete_node(run.plane, run.host)


def _look_again(run: _Run) -> None:
    if _member(run)[1] is not None or is_node(run.plane, run.host):
        raise ProvisionError(
            f"{run.host} was removed, but read again it is still there",
            "is its kubelet or etcd running somewhere?",
        )


def _read(run: _Run, stack: ExitStack) -> tuple[dict[str, RemoteLock], dict[str, Facts], Facts | None]:
    """Locks, the facts of the rest, and those of the host, None when it is dead."""
    facts: dict[str, Facts] = {}
    try:
        held = lock(
            stack, run.pool, run.rest, [run.rest.state_host], lambda: facts.update(gather(run.rest, run.pool))
        )
    except UnreachableError as fault:
        hint = f"{fault.hint}; " if fault.hint else ""
        raise UnreachableError(
            fault.reason,
            f"{hint}who is gone for good, too, is taken out of the inventory first, {run.host} removed, then put back"
            " to be removed with --dead itself",
        ) from None
    if run.removal.dead:
        return held, facts, None
    only = replace(run.whole, request=replace(run.whole.request, limit=run.host))
    try:
        own = gather(only, run.pool)[run.host]
    except UnreachableError as fault:
        raise UnreachableError(
            fault.reason,
            f"if it is gone for good: provision remove {run.whole.request.inventory} {run.host} --dead",
        ) from None
    lock(stack, run.pool, run.whole, [run.host])
    return held, facts, own


def _member(run: _Run) -> tuple[list[Member], Member | None]:
    """The members of etcd, and the host's own, whatever groups it is in by now. One that has never started has no name
    yet."""
    members, spec = read_members(_etcd_session(run)), run.whole.spec
    peer = f"https://{spec.nodes[run.host].address}:2380" if spec else ""
    return members, next((each for each in members if each.name == run.host or each.peer == peer), None)


def _etcd_session(run: _Run) -> Session:
    """Of the first host of etcd that stays."""
    return run.pool.session(run.rest.inventory.group(ETCD)[0].name)


def _told(run: _Run, leaving: Member | None, *, node: bool) -> list[str]:
    host, dead = run.host, run.removal.dead
    told = []
    if node:
        what = (
            "its node is deleted" if dead else "its pods are evicted, with what they have in emptyDir volumes"
        )
        told.append(f"{host}: leaves the cluster; {what}")
    if leaving is not None:
        told.append(f"{host}: its member leaves etcd, which has {len(run.rest.inventory.group(ETCD))} then")
    if dead:
        told.append(f"{host}: is taken for gone for good and not cleared")
    else:
        told.append(f"{host}: services, data and all that provision has put there are deleted")
    return told


def _farewell(run: _Run) -> Note:
    place = place_of(run.whole.inventory, run.host)
    vip = run.whole.spec.load_balancer.vip if run.whole.spec else None
    hint = f"take it out of the inventory ({place}): the next apply would let it in again"
    if run.removal.dead and CONTROL_PLANE in run.groups:
        hint += "; its disk has the cluster's keys: wipe it"
    if run.removal.dead and LOAD_BALANCER in run.groups and vip:
        hint += f"; it must not come back as it was: it would take {vip} beside the others"
    members = len(run.rest.inventory.group(ETCD))
    if ETCD in run.groups and members % 2 == 0:
        hint += (
            f"; etcd has {members} members now, no safer than {members - 1}: put another in its place, and until then"
            " set cluster.etcd.allow_even: true"
        )
    return Note(message=f"{run.host} has left the cluster", hint=hint)
