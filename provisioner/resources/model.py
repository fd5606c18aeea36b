"""What a resource is: a wish about one thing on one host, how it is read and how it is changed.

The state of a thing is `Present(flat mapping of plain values)`, `Absent` or `Unknown(reason)`; the diff between
two states is generic (engine.diff). A kind is one file: it turns a playbook task's arguments into resources,
emits one probe fragment for all of its resources on a host, parses what the probe printed, and emits the script
that carries out one change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from provisioner.resources.task import TaskCall
from provisioner.shell.script import Script

Plain = str | int | bool | None | tuple[str, ...]


@dataclass(frozen=True)
class Present:
    attrs: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True)
class Absent:
    pass


@dataclass(frozen=True)
class Unknown:
    """Not readable now (an API that is not up). Permits create or update, never a delete."""

    reason: str


State = Present | Absent | Unknown


@dataclass(frozen=True)
class Resource:
    """One wish. `spec` holds what the kind needs to read and change it.

    `writes` are the paths that a change of it touches; `inputs` the paths whose change means a restart (units).
    `text` is content that a unified diff may show; None for binaries and secrets.
    """

    kind: str
    name: str
    desired: State
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    text: str | None = field(default=None, repr=False)
    secret: bool = False
    writes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Section:
    """A text before and after a change. `title` names the part that it is of; "" when it is the whole."""

    title: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """What the diff found: `action` is create, update or delete; `keys` the attributes that differ.

    Two more concern only what a host remembers to be ours: forget, and claim (for a second playbook).

    `foreign`: what is there now was not put there by this tool, so a file is moved aside before it is written over.
    """

    resource: Resource
    before: State
    action: str
    keys: tuple[str, ...] = ()
    foreign: bool = False


@dataclass(frozen=True)
class Owned:
    """What a host remembers of one thing that this tool put there for `playbooks`: the attributes that were `wanted`,
    and those of what was there `before` ({}: nothing)."""

    kind: str
    name: str
    playbooks: frozenset[str]
    wanted: Mapping[str, Plain]
    before: Mapping[str, Plain]
    secret: bool = False

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}"

    def wish(self, desired: State, writes: tuple[str, ...] = ()) -> Resource:
        """The resource with which it leaves. `writes` when that is not its name."""
        spec = {LEFT_OVER: self.wanted}
        return Resource(
            self.kind, self.name, desired, spec, secret=self.secret, writes=writes or (self.name,)
        )


LEFT_OVER = "left over"
"""In the spec of a resource that no stage wants any more: what was wanted of it."""
FORGET = "forget"
"""In its spec when it only leaves the memory: another stage or playbook wants the thing under it."""
CLAIM = "claim"
"""In the spec of a resource that another playbook has put there: this one wants it, too."""
MEMORY_ONLY = frozenset({"forget", "claim"})
"""Actions that change nothing but what the host remembers."""


class Answer(Protocol):
    """How a script on a host ended."""

    @property
    def status(self) -> int: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...


class Runner(Protocol):
    """A host that runs scripts (remote.session.Session)."""

    @property
    def host(self) -> str: ...

    def run(self, script: Script, *, deadline: float = ...) -> Answer:
        """Raises UnreachableError when the host is lost, ProvisionError at the deadline (seconds)."""
        ...


class Module(Protocol):
    """What a task calls by name. Every kind is one; some only make resources of other kinds."""

    def build(self, task: TaskCall) -> Sequence[Resource]:
        """Resources from a task's arguments. Raises InputError with the task's position."""
        ...


@runtime_checkable
class HostKind(Module, Protocol):
    """The contract of a resource kind that lives on hosts. One instance is made for a run.

    It is either a ScriptedKind or a ConductedKind.
    """

    @property
    def name(self) -> str: ...

    def probe(self, resources: Sequence[Resource]) -> Script:
        """One fragment that reads all `resources`; its stdout goes to `parse` as it is."""
        ...

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        """States by resource id. A resource that is missing in the answer counts as Unknown."""
        ...


@runtime_checkable
class ScriptedKind(HostKind, Protocol):
    """A kind whose change is a script."""

    def change(self, change: Change) -> Script:
        """The script that brings the host to `change.resource.desired`, repeatable after a kill at any point.

        Called at apply time only: what no plan may carry (keys, tokens) is made here.
        """
        ...


@runtime_checkable
class ConductedKind(HostKind, Protocol):
    """A kind whose changes need decisions of the controller between several scripts (approving requests)."""

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Makes all `changes` of a stage. Raises ProvisionError."""
        ...


@runtime_checkable
class ControllerKind(Module, Protocol):
    """A kind that the controller itself reads and changes (an image in a registry)."""

    @property
    def name(self) -> str: ...

    def read(self, resources: Sequence[Resource]) -> Mapping[str, State]:
        """States by resource id, read from the controller. Never raises for one that cannot be read: Unknown."""
        ...

    def carry_out(self, change: Change) -> str:
        """Makes the change; returns a detail for people. Raises ProvisionError."""
        ...


@runtime_checkable
class Settling(Protocol):
    """For kinds whose state depends on what the plan will do earlier on the same host."""

    def settle(self, resource: Resource, actual: State, planned: Collection[Change]) -> State:
        """`actual` as it will be when the resource's turn comes."""
        ...


@runtime_checkable
class Owning(Protocol):
    """For kinds whose things can be taken away again after they left the playbook.

    `ours` are the attributes by which a thing is known to be what was put there; without that it is somebody else's by
    now, and stays.
    """

    @property
    def ours(self) -> tuple[str, ...]: ...

    def gone(self, owned: Owned) -> Resource | None:
        """The wish that it be as it was before this tool came; None when nothing is to be done."""
        ...


@runtime_checkable
class Lasting(Protocol):
    """For kinds whose change may come undone by itself a moment later: a unit that starts, and dies."""

    def stays(self, change: Change) -> Script | None:
        """A fragment that succeeds as long as what `change` started runs on, and else fails and prints what became of
        it: a line, and what it said itself. None when the change starts nothing."""
        ...


@runtime_checkable
class Showing(Protocol):
    """For kinds that can show a change as two texts."""

    def show(self, changes: Sequence[Change]) -> Script: ...

    def parse_shown(self, output: bytes, changes: Sequence[Change]) -> Mapping[str, tuple[Section, ...]]:
        """What differs, by resource id."""
        ...


AnyKind = HostKind | ControllerKind
