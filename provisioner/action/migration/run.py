"""`migrate`: the cluster's pod network becomes another one while its pods go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from provisioner.action.connect import connect_to
from provisioner.action.consent import check_consent
from provisioner.action.exchange import losses_told, stop_left
from provisioner.action.load import Loaded
from provisioner.action.locks import lock
from provisioner.action.migration.beside import go_beside
from provisioner.action.migration.byplaybook import ByPlaybook
from provisioner.action.migration.change import Wanted, change_of, check_target, fixed_of_section
from provisioner.action.migration.checks import check
from provisioner.action.migration.originals import read_originals
from provisioner.action.migration.others import ByKubectl
from provisioner.action.migration.othersthere import open_access
from provisioner.action.migration.proof import check_measured
from provisioner.action.migration.running import Maker, Run
from provisioner.action.migration.sections import target_section, yaml_of
from provisioner.action.migration.told import told
from provisioner.action.migration.within import check_within, go_within, leaving
from provisioner.action.prepare import gather
from provisioner.action.telling import again, telling, unchanged
from provisioner.action.transition import record_of, section_of
from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError
from provisioner.network.record import Section
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool

Confirm = Callable[[Sequence[str]], bool]


def migrate(loaded: Loaded, wanted: Wanted, emit: Emit, confirm: Confirm) -> int:
    """Returns the exit code. Raises InputError, ConsentError, UnreachableError and LockedError before anything is
    changed, and ProvisionError of the step that failed; the same command goes on then."""
    check_target(loaded, wanted)
    with telling(loaded, "migrate", _options(wanted), emit) as said, ExitStack() as stack:
        pool = stack.enter_context(connect_to(loaded.inventory, loaded.hosts))
        # Else what the hosts are asked keeps pods waiting on small ones, who seem to lose requests then.
        pool.yield_to_others()
        facts: dict[str, Facts] = {}
        with unchanged(again(loaded, "migrate", _options(wanted))):
            held = lock(stack, pool, loaded, loaded.hosts, lambda: facts.update(gather(loaded, pool)))
            maker = _maker(loaded, pool, stack)
        with unchanged(""):  # what is in the way here is so for the same command, too
            change = change_of(loaded, facts, _fixed(loaded, facts), wanted)
        code = 0
        if change is None:
            if not wanted.only_told:
                stop_left(loaded, pool)  # by one that was cut off before it was on record
            for line in nothing_to_do(loaded, wanted, record_of(facts, loaded.inventory).now):
                said.record(Note(message=line))
        else:
            run = Run(change, maker, pool, said.record, stack, held, loaded.inventory)
            code = _migrated(run, facts, wanted, confirm)
            said.changed, said.phases = run.changed, run.seconds
        said.ok, said.planned, said.execs = code in (0, 2), code == 2, pool.execs
    return code


def _migrated(run: Run, facts: Mapping[str, Facts], wanted: Wanted, confirm: Confirm) -> int:
    change = run.change
    with unchanged(again(change.target, "migrate", _options(wanted))):
        _checked(run, facts)
        for line in told(change, facts, run.keepers):
            run.emit(Note(message=line))
        if wanted.only_told:
            return 2
        check_consent(["the pod network changes as it is told above"], confirm)
    run.maker.begin(run)
    with losses_told(change.target, run.pool, run.emit, run.step) as run.exchange:
        if not change.within or leaving(change.old, change.new):
            check_measured(run)
        code = go_within(run) if run.change.within else go_beside(run)
    if change.begun and run.exchange is not None:
        run.emit(
            Note(message="the earlier run's losses, and those since it was stopped, are not among these")
        )
    if code == 0 and change.migration.target != section_of(run.written):
        run.emit(Note(message=_to_be_written(change.migration.target)))
    return code


def _checked(run: Run, facts: Mapping[str, Facts]) -> None:
    run.maker.check(run)
    if run.change.within:
        check_within(run)
    check(run.change, facts, run.plane, run.emit)


def _maker(loaded: Loaded, pool: Pool, stack: ExitStack) -> Maker:
    existing = loaded.cluster.existing
    if existing is None:
        return ByPlaybook()
    open_access(stack, pool, loaded.state_host, existing)
    planes = [host.name for host in loaded.inventory.group("kube_control_plane")]
    return ByKubectl(read_originals(pool, planes, loaded.inventory))


def nothing_to_do(loaded: Loaded, wanted: Wanted, now: Section | None) -> Iterator[str]:
    """Why there is nothing to do; and where the inventory does not say so yet, what it has to say. `now` is what was
    applied last."""
    written = section_of(loaded.inventory)
    if wanted.rollback:
        yield "there is no migration on record that could be taken back"
        return
    there = written if now is None else target_section(written, wanted.to, now)
    if fixed_of_section(loaded, there) == fixed_of_section(loaded, written):
        yield f"nothing to migrate: the pod network is {wanted.to} already, as the inventory has it"
    else:
        yield f"nothing to migrate: the pod network is {wanted.to} already; the inventory does not say so yet"
        yield _to_be_written(there)


def _to_be_written(section: Section) -> str:
    return f"what the inventory has to say of the network from now on, below `cluster`:\n{yaml_of(section)}"


def _fixed(loaded: Loaded, facts: Mapping[str, Facts]) -> Mapping[str, str | int | list[str]]:
    from provisioner.action.carried import Carried

    if loaded.cluster.existing is not None:
        return {}
    carried = Carried.of(facts, {host.name for host in loaded.inventory.group("kube_control_plane")})
    if not carried.states:
        raise ProvisionError("there is no cluster on these hosts yet", "make it with `provision apply`")
    return carried.agreed(loaded.spec.name if loaded.spec else "").fixed


def _options(wanted: Wanted) -> list[str]:
    way = ["--rollback"] if wanted.rollback else ["--to", wanted.to]
    strategy = ["--strategy", wanted.strategy] if wanted.strategy else []
    return [*way, *strategy, *(["--plan"] if wanted.only_told else [])]
