"""`migrate`: the cluster's pod network becomes another one while its pods go on.

Both networks are there for a while, and nothing of the former one is touched until no pod needs it: agents of the new
one come beside it on all nodes; node by node, new pods get the new network, which has to prove itself there; pods are
made anew, as their workloads do that; then the old agents end, and what they have left on hosts goes. Up to that point
the way back costs nothing; after it, it is the same way once more.
"""

from __future__ import annotations

import ipaddress
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace

from provisioner.action.carry import carry_out
from provisioner.action.connect import connect_to
from provisioner.action.consent import check_consent
from provisioner.action.exchange import everywhere, exchange_of
from provisioner.action.load import Loaded
from provisioner.action.locks import lock
from provisioner.action.migration.change import Change, Wanted, change_of, check_target
from provisioner.action.migration.hosts import backup_folder, each, turn_script, write_record
from provisioner.action.migration.told import told
from provisioner.action.prepare import Prepared, gather, prepare
from provisioner.action.transition import Transition
from provisioner.engine.events import Emit, Note, RunEnded, RunStarted, Step
from provisioner.engine.journal import journal
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube import oldnetwork
from provisioner.kube.podmoves import Moves
from provisioner.kube.remains import Remain, clean_script, parse_remains, remains_script
from provisioner.kube.workloads import Home, Pod, Reading, read_workloads
from provisioner.network.podnetwork import PodNetwork
from provisioner.network.record import ALONE, BOTH
from provisioner.playbook.facts import Facts
from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session
from provisioner.spec.model import ClusterSpec

Confirm = Callable[[Sequence[str]], bool]


@dataclass
class Run:
    """One migration at work."""

    change: Change
    pool: Pool
    emit: Emit
    stack: ExitStack
    held: dict[str, RemoteLock]
    seconds: dict[str, float] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def plane(self) -> Session:
        return self.pool.session(self.change.target.state_host)

    @property
    def planes(self) -> list[str]:
        return [host.name for host in self.change.target.inventory.group("kube_control_plane")]

    @property
    def nodes(self) -> list[str]:
        """Workers first: pods of control planes are the cluster's own."""
        planes = set(self.planes)
        every = [name for name, node in self.change.new.nodes.items() if node.node]
        return [*(each for each in every if each not in planes), *(each for each in every if each in planes)]

    @contextmanager
    def step(self, name: str, subject: str = "") -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self.changed.setdefault(name, 1)
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.emit(Step(task=name, subject=subject, seconds=seconds))


def migrate(loaded: Loaded, wanted: Wanted, emit: Emit, confirm: Confirm) -> int:
    """Returns the exit code. Raises InputError, ConsentError, UnreachableError and LockedError before anything is
    changed, and ProvisionError of the step that failed; the same command goes on then."""
    check_target(loaded, wanted)
    began = time.monotonic()
    with journal(loaded.run, emit) as record:
        record(_started(loaded, wanted))
        with ExitStack() as stack:
            pool = stack.enter_context(connect_to(loaded.inventory, loaded.hosts))
            facts: dict[str, Facts] = {}
            held = lock(stack, pool, loaded, loaded.hosts, lambda: facts.update(gather(loaded, pool)))
            change = change_of(loaded, facts, _fixed(loaded, facts), wanted)
            if change is None:
                record(Note(message=f"the pod network is {wanted.to} already, as the inventory has it"))
                code, run = 0, None
            else:
                run = Run(change, pool, record, stack, held)
                code = _migrated(run, facts, wanted, confirm)
            extra = {"execs": pool.execs}
        record(
            RunEnded(
                run=loaded.run,
                ok=code in (0, 2),
                seconds=time.monotonic() - began,
                changed=run.changed if run else {},
                phases=run.seconds if run else {},
                resume="" if code in (0, 2) else _again(loaded, wanted),
                extra=extra,
            )
        )
    return code


def _migrated(run: Run, facts: Mapping[str, Facts], wanted: Wanted, confirm: Confirm) -> int:
    change = run.change
    lines = told(change, facts, run.plane)
    if wanted.only_told:
        for line in lines:
            run.emit(Note(message=line))
        return 2
    check_consent(lines, confirm)
    with _measured(run):
        return _carried_through(run)


@contextmanager
def _measured(run: Run) -> Iterator[None]:
    """Pods exchange requests while the block runs, and what they lost of each other is told. Where they cannot begin
    to, as after a run that was cut off in the middle, the block runs without."""
    exchange = exchange_of(run.change.target)
    everyone = everywhere(run.pool)
    try:
        with run.step("exchange"):
            since = exchange.start(run.plane, everyone)
    except UnreachableError:
        raise
    except ProvisionError as fault:
        with suppress(ProvisionError):
            exchange.stop(run.plane, everyone)
        run.emit(Note(level="warning", message=f"losses are not measured: {fault.reason}", hint=fault.hint))
        yield
        return
    try:
        yield
        run.emit(exchange.collect(everyone, since))
    finally:
        with suppress(ProvisionError):
            exchange.stop(run.plane, everyone)


def _carried_through(run: Run) -> int:
    """The exit code. Raises ProvisionError of the step that failed."""
    change = run.change
    if change.migration.phase == BOTH:
        code = _beside(run)
        if code:
            return code
        _turned(run)
        _moved(run)
        _turned(run)  # an agent that was started anew meanwhile has put its configuration back
        _check_moved(run)
        change = run.change = replace(change, migration=replace(change.migration, phase=ALONE))
        write_record(run.pool, run.planes, change.recorded(change.migration))
    _taken_away(run)
    return _alone(run)


def _beside(run: Run) -> int:
    """The new network comes beside the other one."""
    change = run.change
    with run.step("backup", change.old.network.plugin):
        prepared = _prepared(run, Transition(change.recorded(change.migration), beside=change.old))
        write_record(run.pool, run.planes, change.recorded(change.migration))
        oldnetwork.backup(run.plane, _objects(prepared, change.old), backup_folder(change.migration.id))
    with run.step("beside", change.new.network.plugin):
        return _carried(run, prepared)


def _turned(run: Run) -> None:
    change = run.change
    script = turn_script(
        change.old.network.plugin, change.new.network.plugin, backup_folder(change.migration.id)
    )
    for group in [run.nodes] if change.all_at_once else [[node] for node in run.nodes]:
        with run.step("turned", ", ".join(group)):
            each(run.pool, group, script, "new pods cannot get the new network")


def _moved(run: Run) -> None:
    moves = _moves(run)
    if run.change.all_at_once:
        with run.step("pods", "all nodes"):
            moves.replace()
        return
    for node in run.nodes:
        with run.step("pods", node):
            moves.roll(node)


def _check_moved(run: Run) -> None:
    """What was made while others were moved, or came under another's hands."""
    moves = _moves(run)
    for _ in range(3):
        left = moves.old(moves.read())
        if not left:
            return
        moves.roll()
    named = ", ".join(f"{each.namespace}/{each.name}" for each in left)
    raise ProvisionError(
        f"pods still have addresses of the former network: {named}", "run the same command again"
    )


def _moves(run: Run) -> Moves:
    new = run.change.new

    def old(reading: Reading) -> Sequence[Pod]:
        return reading.outside(_homes(new) or reading.homes)

    return Moves(run.plane, run.change.migration.id, old)


def _homes(new: ClusterSpec) -> Home:
    """Where pods have addresses then; nothing where each node has a part of its own."""
    if new.network.plugin == "calico":
        return [ipaddress.ip_network(pool.cidr) for pool in new.network.calico.pools]
    return ()


def _taken_away(run: Run) -> None:
    """The old agents end, and what they have left on hosts goes; a second look proves it."""
    change = run.change
    prepared = _prepared(run, Transition(change.recorded(change.migration)))
    old, new = change.old.network.plugin, change.new.network.plugin
    with run.step("agents end", old):
        oldnetwork.stop(run.plane, _objects(prepared, change.old), _objects(prepared, change.new))
    cidrs = _routed(run)
    with run.step("cleaned", old):
        each(
            run.pool, run.nodes, clean_script(old, keep=(new,), pod_cidrs=cidrs), f"{old}'s things do not go"
        )
        look = remains_script(old, keep=(new,), pod_cidrs=cidrs)
        said = each(run.pool, run.nodes, look, "the second look failed")
    _judged(run, {host: parse_remains(text) for host, text in said.items()})


def _routed(run: Run) -> list[str]:
    """Parts of the pod network to which the former plug-in has led: by nodes, or its pools."""
    network = run.change.old.network
    if network.plugin == "calico":
        return [pool.cidr for pool in network.calico.pools]
    homes = read_workloads(run.plane).homes
    return [str(network) for networks in homes.values() for network in networks]


def _judged(run: Run, found: Mapping[str, Sequence[Remain]]) -> None:
    """Says what is left on purpose. Raises ProvisionError for all else that is still there."""
    reasons: dict[str, list[str]] = {}
    faults = []
    for host, remains in found.items():
        for remain in remains:
            if remain.left:
                reasons.setdefault(f"{remain.kind} {remain.name}: {remain.reason}", []).append(host)
            else:
                faults.append(
                    f"{host}: {remain.kind} {remain.name}" + (f" ({remain.reason})" * bool(remain.reason))
                )
    for reason, hosts in reasons.items():
        run.emit(Note(message=f"left on {', '.join(hosts)}: {reason}"))
    if faults:
        raise ProvisionError(
            f"{run.change.old.network.plugin} has left things that do not go:\n" + "\n".join(faults),
            "take them away, then run the same command again",
        )


def _alone(run: Run) -> int:
    change = run.change
    with run.step("alone", change.new.network.plugin):
        return _carried(run, _prepared(run, Transition(change.recorded(None), settled=True)))


def _prepared(run: Run, transition: Transition) -> Prepared:
    return prepare(replace(run.change.target, transition=transition), run.pool, run.emit)


def _carried(run: Run, prepared: Prepared) -> int:
    _, outcome = carry_out(prepared, run.pool, run.emit, run.stack, run.held, None, lambda _: True)
    for name, count in outcome.changed.items():
        run.changed[name] = run.changed.get(name, 0) + count
    return outcome.exit_code


def _objects(prepared: Prepared, spec: ClusterSpec) -> list[dict[str, object]]:
    network = PodNetwork(spec, prepared.text)
    return network.objects(lambda image: image)


def _fixed(loaded: Loaded, facts: Mapping[str, Facts]) -> Mapping[str, str | int | list[str]]:
    from provisioner.action.carried import Carried

    carried = Carried.of(facts, {host.name for host in loaded.inventory.group("kube_control_plane")})
    if not carried.states:
        raise ProvisionError("there is no cluster on these hosts yet", "make it with `provision apply`")
    return carried.agreed(loaded.spec.name if loaded.spec else "").fixed


def _started(loaded: Loaded, wanted: Wanted) -> RunStarted:
    return RunStarted(
        run=loaded.run,
        command="migrate",
        inventory=str(loaded.request.inventory),
        hosts=loaded.hosts,
        who=loaded.who,
        path=str(loaded.request.inventory.resolve()),
        options=shlex.join(_options(wanted)),
    )


def _again(loaded: Loaded, wanted: Wanted) -> str:
    return shlex.join(["provision", "migrate", str(loaded.request.inventory), *_options(wanted)])


def _options(wanted: Wanted) -> list[str]:
    way = ["--rollback"] if wanted.rollback else ["--to", wanted.to]
    return [*way, *(["--strategy", wanted.strategy] if wanted.strategy else [])]
