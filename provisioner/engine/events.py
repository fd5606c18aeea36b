"""What happens in a run, as typed values. Everything that people or programs see is a rendering of these."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """`time` is seconds since the epoch."""

    time: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """`who` is user@machine, `path` the inventory's absolute path, `options` the rest of the command line."""

    run: str
    command: str
    inventory: str
    hosts: tuple[str, ...]
    who: str = ""
    path: str = ""
    options: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """Work with a measure: `done` of `total` `unit`s (bytes, blobs, hosts …); `total` None means unknown."""

    task: str
    subject: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """A named piece of work ended. `changed` False means that it was already as wanted."""

    task: str
    subject: str = ""
    seconds: float = 0.0
    changed: bool = True


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """`level` is info, warning or error."""

    message: str
    level: str = "info"
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    stage: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HostChanging(Event):
    """A host begins to change `resource` (one of its `stage`)."""

    stage: str
    host: str
    resource: str


@dataclass(frozen=True, kw_only=True)
class Changed(Event):
    """A resource was changed and, read again, is as wanted. `action` is create, update, delete or restart."""

    stage: str
    host: str
    resource: str
    action: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StageEnded(Event):
    stage: str
    seconds: float
    changed: int
    failed: int = 0


@dataclass(frozen=True, kw_only=True)
class GateStarted(Event):
    gate: str


@dataclass(frozen=True, kw_only=True)
class GatePassed(Event):
    gate: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """`script_line` is the line of the script that failed; `stderr` its last lines.

    Of the host's changes in this stage `done` are made, `undone` not, beginning with `resource`. `unsure` was begun and
    not heard of again: the connection was lost meanwhile.

    `status` is the script's exit status, `exit_code` what the failure means for the command's (errors.py).
    """

    stage: str
    host: str
    resource: str
    reason: str
    exit_code: int = 1
    status: int | None = None
    script_line: str = ""
    stderr: str = ""
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    hint: str = ""
    unsure: str = ""


@dataclass(frozen=True, kw_only=True)
class FaultFound(Event):
    """A fault of a node's pod network: `fault` is its kind, `things` what is wrong, `why` by what that is known. `mend`
    is what would be done and `cost` what that costs; where nothing can be done from here `mend` is "", and `cost` says
    what has to be done elsewhere."""

    fault: str
    host: str
    things: tuple[str, ...]
    why: str
    mend: str
    cost: str


@dataclass(frozen=True, kw_only=True)
class FaultBegun(Event):
    """The test of fail-over does something to a host; `fault` is "" while nothing is broken yet."""

    fault: str
    host: str


@dataclass(frozen=True, kw_only=True)
class FaultEnded(Event):
    """What clients saw of a fault, in seconds and counts. `host` had it; `fault` "" is the measure's own noise.

    `outage` is the longest time without an answer to new connections, of `total` of which `failed`. Of `kept`
    connections that stay `broken` broke, `silence` is the longest time without an answer on one, `back` the longest
    from a break to the next answer. The shared address was on two hosts for `twice` seconds at most, as `samples`
    samples say, on none for `nobody` at most, in the end on `holders`. `target` is what was to be kept, in words, `why`
    what was wrong.
    """

    fault: str
    host: str
    outage: float
    failed: int
    total: int
    silence: float
    broken: int
    kept: int
    back: float
    twice: float = 0.0
    samples: int = 0
    nobody: float = 0.0
    holders: tuple[str, ...] = ()
    target: str = ""
    ok: bool = True
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class FailoverEnded(Event):
    """The test of fail-over: all faults, seen by clients that stood on `client`; `left_out` says which were not tried,
    and why."""

    client: str
    faults: tuple[FaultEnded, ...]
    ok: bool
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PathMeasured(Event):
    """One way between pods: `path` is same-node, other-node or service, from a pod on `source` to one on `target`.

    `throughput` of one TCP stream, in bits a second, for which `retransmits` segments were sent again; percentiles of
    round trips, in microseconds, of which there were `count`.
    """

    path: str
    source: str
    target: str
    throughput: float
    retransmits: int
    p50: float
    p90: float
    p99: float
    count: int


@dataclass(frozen=True, kw_only=True)
class NetMeasured(Event):
    """A measurement of the pod network, `seconds` for each number. `network` is its plug-in and mode, `mtu` that of
    the pod that asked. `before` are the paths of an earlier one."""

    cluster: str
    network: str
    seconds: int
    mtu: int
    paths: tuple[PathMeasured, ...]
    before: tuple[PathMeasured, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PairExchanged(Event):
    """What pods of node `source` saw of those of `target`, to which they made a new connection each 0.1 s.

    Of `requests` that ended `failed` got no good answer within a second. `gap` is the longest time without one, in
    seconds, from `began` (since the epoch) on; `back` False: it had not ended yet.
    """

    source: str
    target: str
    requests: int
    failed: int
    gap: float
    began: float
    back: bool = True


@dataclass(frozen=True, kw_only=True)
class ExchangeMeasured(Event):
    """What all pairs saw in `seconds`, who lost most first; `requests` and `failed` of all, `gap` the longest."""

    seconds: float
    pairs: tuple[PairExchanged, ...]
    requests: int
    failed: int
    gap: float


@dataclass(frozen=True, kw_only=True)
class ImagePushed(Event):
    """The upstream image `reference` is in a registry as `where`. `sent`, `mounted` and `skipped` count blobs, `bytes`
    those that were sent. `changed`: the tag was not there, or named another image, whose digest is `before`."""

    reference: str
    where: str
    digest: str
    sent: int
    mounted: int
    skipped: int
    bytes: int
    seconds: float
    changed: bool = False
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class PushEnded(Event):
    """All of them are there. `changed` tags are new or name another image than before, which `moved` of them do."""

    registry: str
    images: int
    changed: int
    moved: int
    sent: int
    mounted: int
    skipped: int
    bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """`left` are the numbers of planned changes that were not made, by stage and host."""

    run: str
    ok: bool
    seconds: float
    changed: Mapping[str, int] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    resume: str = ""
    left: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunStopped(Event):
    """For the journal only: the run was given up for `reason`, which is said to people as an error. `unchanged`: before
    its first change."""

    run: str
    reason: str
    exit_code: int
    unchanged: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer(Event):
    """What a host said to a command of the user. When it could not be asked `error` is set and `status` is None."""

    host: str
    status: int | None = None
    stdout: str = ""
    stderr: str = ""
    error: str = ""


Emit = Callable[[Event], None]


def silent(_event: Event) -> None:
    """An Emit that drops everything."""
