"""`migrate`: the cluster's pod network becomes another one while its pods go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from provisioner.action.connect import connect_to
from provisioner.action.consent import check_consent
from provisioner.action.exchange import everywhere, exchange_of
from provisioner.action.load import Loaded
from provisioner.action.locks import lock
from provisioner.action.migration.beside import go_beside
from provisioner.action.migration.change import Wanted, change_of, check_target
from provisioner.action.migration.checks import check
from provisioner.action.migration.running import Run
from provisioner.action.migration.told import told
from provisioner.action.migration.within import check_within, go_within
from provisioner.action.prepare import gather
from provisioner.action.telling import again, started
from provisioner.engine.events import Emit, ExchangeMeasured, Note, RunEnded
from provisioner.engine.journal import journal
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.exchange import Everywhere, Exchange, Marks
from provisioner.playbook.facts import Facts

_LAST = 15.0
"""Seconds in which pairs that were cut off have to be back before they are told to be cut off still."""
Confirm = Callable[[Sequence[str]], bool]


def migrate(loaded: Loaded, wanted: Wanted, emit: Emit, confirm: Confirm) -> int:
    """Returns the exit code. Raises InputError, ConsentError, UnreachableError and LockedError before anything is
    changed, and ProvisionError of the step that failed; the same command goes on then."""
    check_target(loaded, wanted)
    began = time.monotonic()
    with journal(loaded.run, emit) as record:
        record(started(loaded, "migrate", _options(wanted)))
        with ExitStack() as stack:
            pool = stack.enter_context(connect_to(loaded.inventory, loaded.hosts))
            # Else what the hosts are asked keeps pods waiting on small ones, who seem to lose requests then.
            pool.yield_to_others()
            facts: dict[str, Facts] = {}
            held = lock(stack, pool, loaded, loaded.hosts, lambda: facts.update(gather(loaded, pool)))
            change = change_of(loaded, facts, _fixed(loaded, facts), wanted)
            if change is None:
                record(Note(message=_nothing(wanted)))
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
                resume="" if code in (0, 2) else again(loaded, "migrate", _options(wanted)),
                extra=extra,
            )
        )
    return code


def _migrated(run: Run, facts: Mapping[str, Facts], wanted: Wanted, confirm: Confirm) -> int:
    change = run.change
    if change.within:
        check_within(run)
    check(change, facts, run.plane, run.emit)
    lines = told(change, facts, run.plane)
    if wanted.only_told:
        for line in lines:
            run.emit(Note(message=line))
        return 2
    check_consent(lines, confirm)
    with _measured(run):
        return go_within(run) if run.change.within else go_beside(run)


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
        run.emit(_lost(exchange, everyone, since))
    finally:
        with suppress(ProvisionError):
            exchange.stop(run.plane, everyone)


def _lost(exchange: Exchange, everyone: Everywhere, since: Marks) -> ExchangeMeasured:
    """What each pair lost. One that waits for an answer just now gets some seconds for that."""
    end = time.monotonic() + _LAST
    while True:
        found = exchange.collect(everyone, since)
        if all(pair.back for pair in found.pairs) or time.monotonic() > end:
            return found
        time.sleep(1)


def _nothing(wanted: Wanted) -> str:
    if wanted.rollback:
        return "there is no migration on record that could be taken back"
    return f"nothing to migrate: the pod network is {wanted.to} already, as the inventory has it"


def _fixed(loaded: Loaded, facts: Mapping[str, Facts]) -> Mapping[str, str | int | list[str]]:
    from provisioner.action.carried import Carried

    carried = Carried.of(facts, {host.name for host in loaded.inventory.group("kube_control_plane")})
    if not carried.states:
        raise ProvisionError("there is no cluster on these hosts yet", "make it with `provision apply`")
    return carried.agreed(loaded.spec.name if loaded.spec else "").fixed


def _options(wanted: Wanted) -> list[str]:
    way = ["--rollback"] if wanted.rollback else ["--to", wanted.to]
    return [*way, *(["--strategy", wanted.strategy] if wanted.strategy else [])]
