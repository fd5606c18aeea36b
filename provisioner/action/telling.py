"""A run of a command that changes hosts, as it is told of: how it began, what came of it, and how to go on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from provisioner.action.load import Loaded
from provisioner.engine.events import Emit, RunEnded, RunStarted
from provisioner.engine.journal import journal
from provisioner.errors import ConsentError, InputError, ProvisionError


@dataclass
class Telling:
    """`record` takes what is told; the rest is filled in while the run goes on, and told at its end."""

    record: Emit
    ok: bool = False
    changed: Mapping[str, int] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    execs: int = 0
    planned: bool = False
    """Nothing was to be done but to say what would be."""
    found: int | None = None
    """How many faults, where nothing was to be done but to look for them."""


def started(
    loaded: Loaded, command: str, options: Sequence[str], hosts: Sequence[str] | None = None
) -> RunStarted:
    """`options` are the words behind the inventory; `hosts` where not all of it are meant."""
    return RunStarted(
        run=loaded.run,
        command=command,
        inventory=str(loaded.request.inventory),
        hosts=loaded.hosts if hosts is None else tuple(hosts),
        who=loaded.who,
        path=str(loaded.request.inventory.resolve()),
        options=shlex.join(options),
    )


def again(loaded: Loaded, command: str, options: Sequence[str]) -> str:
    """The command line that goes on with it."""
    return shlex.join(["provision", command, str(loaded.request.inventory), *options])


@contextmanager
def unchanged(resume: str) -> Iterator[None]:
    """What is raised in the block comes before the first change. `resume` is the command line that takes it up; not
    where it would ask for the same consent, or find the same mistakes."""
    try:
        yield
    except ProvisionError as fault:
        fault.unchanged = True
        if not isinstance(fault, ConsentError | InputError):
            fault.resume = resume
        raise


@contextmanager
def telling(
    loaded: Loaded, command: str, options: Sequence[str], emit: Emit, hosts: Sequence[str] | None = None
) -> Iterator[Telling]:
    """Tells of the run, and writes its journal. What the block raises is no end: the command line tells that. `hosts`
    are as `started` has them."""
    with journal(loaded.run, emit) as record, told_of(loaded, command, options, record, hosts) as told:
        yield told


@contextmanager
def told_of(
    loaded: Loaded, command: str, options: Sequence[str], emit: Emit, hosts: Sequence[str] | None = None
) -> Iterator[Telling]:
    """The same without a journal, of a run that changes nothing."""
    began = time.monotonic()
    emit(started(loaded, command, options, hosts))
    told = Telling(emit)
    yield told
    emit(
        RunEnded(
            run=loaded.run,
            ok=told.ok,
            seconds=time.monotonic() - began,
            changed={name: count for name, count in told.changed.items() if count},
            phases=dict(told.phases),
            resume="" if told.ok else again(loaded, command, options),
            extra={"execs": told.execs, **_only_told(told)},
        )
    )


def _only_told(told: Telling) -> dict[str, bool | int]:
    planned = {"planned": True} if told.planned else {}
    return {**planned, **({} if told.found is None else {"faults": told.found})}
