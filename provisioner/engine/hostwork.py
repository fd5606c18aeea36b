"""One host, one stage: the script of all its changes, its answer, and the second reading that decides."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence

from provisioner.engine.diff import remaining
from provisioner.engine.events import Changed, Emit, Failed, HostChanging, Note
from provisioner.engine.ownership import Ownership
from provisioner.engine.read import Sessions, answered, by_kind, parsed, read_host
from provisioner.engine.watch import Watch
from provisioner.errors import ProvisionError
from provisioner.remote.causes import cause_of
from provisioner.remote.session import Result
from provisioner.resources.model import (
    MEMORY_ONLY,
    AnyKind,
    Change,
    ConductedKind,
    ControllerKind,
    ScriptedKind,
    State,
    Unknown,
)
from provisioner.resources.taken import taken
from provisioner.shell.assemble import StepOutcome, StepRecord, change_script, parse_steps, split_trace
from provisioner.shell.script import Script

DEADLINE = 900.0
"""Seconds for all changes of one stage on one host."""
_UNRECORDED = 73
"""The status of a step whose record could not be written (shell.assemble)."""
_LINES, _COLUMNS = 15, 400
"""What a failure shows of stderr."""


class HostWork:
    """Changes hosts, by the three ways in which kinds do: a script, a conducted sequence, the controller itself."""

    def __init__(
        self,
        sessions: Sessions,
        kinds: Mapping[str, AnyKind],
        emit: Emit,
        run: str,
        guard: Callable[[str], None] = lambda _host: None,
        ownership: Ownership | None = None,
        watch: Watch | None = None,
    ) -> None:
        """`guard` is called before each piece of work on a host and raises ProvisionError when a lock was lost;
        `watch` is told what was changed."""
        self._guard = guard
        self._ownership = ownership or Ownership(run, "", {}, kinds)
        self._watch = watch
        self._sessions = sessions
        self._kinds = kinds
        self._emit = emit
        self._run = run

    def carry_out(self, host: str, stage: str, changes: Sequence[Change]) -> tuple[Failed | None, int]:
        """(the failure or None, how many changes were made; without a failure all of them were read again)."""
        done: list[Change] = []
        failure: Failed | None = None
        for ways, work in (
            (ScriptedKind, self._by_script),
            (ConductedKind, self._conducted),
            (ControllerKind, self._by_controller),
        ):
            mine = [change for change in changes if isinstance(self._kinds[change.resource.kind], ways)]
            if not mine or failure is not None:
                continue
            try:
                self._guard(host)
                failure = work(host, stage, mine, done)
            except ProvisionError as fault:
                failure = _failed(
                    stage, host, "", fault.reason, mine, 0, hint=fault.hint, exit_code=fault.exit_code
                )
        if self._watch is not None:
            self._watch.add(host, stage, done)
        return failure, len(done)

    def _by_script(
        self, host: str, stage: str, changes: Sequence[Change], done: list[Change]
    ) -> Failed | None:
        scripts = [self._script(host, change) for change in changes]
        records = [self._record(host, stage, change) for change in changes]
        groups = by_kind((change.resource for change in changes), self._kinds)
        script = change_script(scripts, records, [kind.probe(group) for kind, group in groups])
        watch = _Watch(self._emit, stage, host, changes)
        try:
            result = self._sessions.session(host).run(
                script, deadline=DEADLINE, on_stdout=watch.feed, what=f"stage '{stage}'"
            )
        except ProvisionError as fault:  # lost or too late: what it had told until then is done
            steps = parse_steps(watch.output())
            done.extend(changes[index] for index in steps.ok)
            return _broken_off(stage, host, changes, len(steps.ok), watch.begun, fault)
        stdout = watch.output()
        steps = parse_steps(stdout)
        if steps.failed is not None or len(steps.ok) < len(changes):
            done.extend(changes[index] for index in steps.ok)
            return _script_failure(stage, host, changes, steps, result)
        states = parsed(groups, answered(host, stdout, result.stderr, len(groups)))
        return self._read_again(host, stage, changes, states, done)

    def _read_again(
        self,
        host: str,
        stage: str,
        changes: Sequence[Change],
        states: Mapping[str, State],
        done: list[Change],
    ) -> Failed | None:
        for index, change in enumerate(changes):
            after: State = states.get(change.resource.id, Unknown("not read"))
            left = remaining(change, after, self._kinds[change.resource.kind])
            if left:
                reason = f"was changed, but read again it {left}"
                return _failed(stage, host, change.resource.id, reason, changes, index)
            done.append(change)
            self._emit(_changed(stage, host, change))
        return None

    def _conducted(
        self, host: str, stage: str, changes: Sequence[Change], done: list[Change]
    ) -> Failed | None:
        session = self._sessions.session(host)
        for name in dict.fromkeys(change.resource.kind for change in changes):
            kind = self._kinds[name]
            mine = [change for change in changes if change.resource.kind == name]
            if isinstance(kind, ConductedKind):
                for change in mine:
                    self._emit(HostChanging(stage=stage, host=host, resource=change.resource.id))
                kind.conduct(mine, session)
                states = read_host(session, [change.resource for change in mine], self._kinds)
                failure = self._read_again(host, stage, mine, states, done)
                if failure is not None:
                    return failure
        return None

    def _by_controller(
        self, host: str, stage: str, changes: Sequence[Change], done: list[Change]
    ) -> Failed | None:
        for index, change in enumerate(changes):
            kind = self._kinds[change.resource.kind]
            if not isinstance(kind, ControllerKind):
                continue
            self._emit(HostChanging(stage=stage, host=host, resource=change.resource.id))
            try:
                detail = kind.carry_out(change)
                after = kind.read([change.resource]).get(change.resource.id, Unknown("not read"))
            except ProvisionError as fault:
                return _failed(stage, host, change.resource.id, fault.reason, changes, index, hint=fault.hint)
            left = remaining(change, after, kind)
            if left:
                reason = f"was changed, but read again it {left}"
                return _failed(stage, host, change.resource.id, reason, changes, index)
            done.append(change)
            self._emit(_changed(stage, host, change, detail))
        return None

    def _script(self, host: str, change: Change) -> Script:
        if change.action in MEMORY_ONLY:
            return Script(":\n")
        return _scripted(self._kinds, change).change(self._ownership.judged(host, change))

    def _record(self, host: str, stage: str, change: Change) -> StepRecord:
        before, after = self._ownership.lines(host, change)
        return StepRecord(self._journal_line(stage, change), before, after)

    def _journal_line(self, stage: str, change: Change) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "run": self._run,
            "stage": stage,
            "action": change.action,
            "id": change.resource.id,
            "keys": list(change.keys) if change.action == "update" else [],
        }
        return json.dumps(line, separators=(",", ":"))


class _Watch:
    """Turns the script's `begin I` lines into events while it runs."""

    def __init__(self, emit: Emit, stage: str, host: str, changes: Sequence[Change]) -> None:
        self._emit, self._stage, self._host, self._changes = emit, stage, host, changes
        self._rest = b""
        self._over = False
        self._all: list[bytes] = []
        self.begun = -1
        """The index of the change that was begun last."""

    def output(self) -> bytes:
        """All that the script printed so far."""
        return b"".join(self._all)

    def feed(self, data: bytes) -> None:
        self._all.append(bytes(data))
        if self._over:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, rest = line.partition(b" ")
            if word == b"probes":
                self._over = True
                return
            if word == b"begin" and rest.isdigit():
                self.begun = int(rest)
                resource = self._changes[self.begun].resource.id
                self._emit(HostChanging(stage=self._stage, host=self._host, resource=resource))
            elif line == b"waiting":
                self._emit(Note(message=f"{self._host}: waiting for a script of an earlier run to end"))


def _scripted(kinds: Mapping[str, AnyKind], change: Change) -> ScriptedKind:
    kind = kinds[change.resource.kind]
    if not isinstance(kind, ScriptedKind):
        raise TypeError(f"{change.resource.id} is not changed by a script")
    return kind


def _changed(stage: str, host: str, change: Change, detail: str = "") -> Changed:
    action = change.action
    if change.resource.kind == "systemd" and "inputs" in change.keys and action == "update":
        action = "restart"
    detail = detail or taken(change) or (", ".join(change.keys) if change.action == "update" else "")
    return Changed(stage=stage, host=host, resource=change.resource.id, action=action, detail=detail)


def _script_failure(
    stage: str, host: str, changes: Sequence[Change], steps: StepOutcome, result: Result
) -> Failed:
    line, stderr = split_trace(result.stderr)
    index, status = steps.failed if steps.failed is not None else (len(steps.ok), result.status)
    resource = changes[index].resource.id if index < len(changes) else ""
    secret = index < len(changes) and changes[index].resource.secret
    cause, hint = cause_of(stderr, host, status)
    if status == _UNRECORDED:
        cause = f"what is done cannot be written down in /var/lib/provision{': ' * bool(cause)}{cause}"
        hint = hint or f"is there room, and may it be written? `df -h` and `mount` on {host} tell"
    return _failed(
        stage,
        host,
        resource,
        f"the script failed{': ' * bool(cause)}{cause}",
        changes,
        index,
        status=status,
        script_line="(secret)" if secret else line,
        stderr=_end_of(stderr),
        hint=hint
        or f"mend that on {host}, or in the playbook, and run again: what is done is not done twice",
    )


def _end_of(stderr: str) -> str:
    """Its last lines, none of them endless."""
    lines = stderr.strip().splitlines()[-_LINES:]
    return "\n".join(line if len(line) <= _COLUMNS else f"{line[:_COLUMNS]} …" for line in lines)


def _broken_off(
    stage: str, host: str, changes: Sequence[Change], made: int, begun: int, fault: ProvisionError
) -> Failed:
    """The script was not heard to its end: lost, too late, or it never began."""
    unsure = changes[begun].resource.id if begun >= made else ""
    reason = fault.reason
    if made == len(changes):
        reason += "; all was changed, but it could not be read again"
    return _failed(
        stage, host, unsure, reason, changes, made, unsure=unsure, hint=fault.hint, exit_code=fault.exit_code
    )


def _failed(
    stage: str,
    host: str,
    resource: str,
    reason: str,
    changes: Sequence[Change],
    at: int,
    *,
    status: int | None = None,
    script_line: str = "",
    stderr: str = "",
    hint: str = "",
    exit_code: int = 1,
    unsure: str = "",
) -> Failed:
    return Failed(
        exit_code=exit_code,
        stage=stage,
        host=host,
        resource=resource,
        reason=reason.removeprefix(f"{host}: "),
        status=status,
        script_line=script_line,
        stderr=stderr,
        done=tuple(change.resource.id for change in changes[:at]),
        undone=tuple(change.resource.id for change in changes[at:]),
        hint=hint,
        unsure=unsure,
    )
