"""What each event says to people, with a style per line; how it is shown is the renderings' affair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.engine import events as ev
from provisioner.inventory.words import some


@dataclass(frozen=True)
class Line:
    """`style` is one of "", good, change, delete, bad, dim, head, warn."""

    text: str
    style: str = ""


SIGNS = {
    "create": ("+", "change"),
    "update": ("~", "change"),
    "delete": ("-", "delete"),
    "restart": ("↻", "change"),
    "forget": (".", "dim"),
    "claim": (".", "dim"),
}
"""By what is done to a resource: a sign and a style."""


def lines_of(event: ev.Event) -> list[Line]:
    """The lines for an event; none for those that only move a progress display."""
    tell: Callable[[Any], list[Line]] | None = _TELL.get(type(event))
    return tell(event) if tell else []


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def counted(count: int, thing: str) -> str:
    """1 blob, 2 blobs."""
    return f"{count} {thing}{'s' * (count != 1)}"


def _run_started(event: ev.RunStarted) -> list[Line]:
    count = len(event.hosts)
    return [
        Line(f"{event.command} {event.inventory}: {count} host{'s' * (count != 1)}, run {event.run}", "head")
    ]


def _progress(event: ev.Progress) -> list[Line]:
    if not event.done:
        return []
    many = size if event.unit == "bytes" else str
    total = f" of {many(event.total)}" if event.total else ""
    unit = "" if event.unit == "bytes" else f" {event.unit}"
    return [Line(f"  {event.task} {event.subject}: {many(event.done)}{total}{unit}".rstrip(), "dim")]


def _step(event: ev.Step) -> list[Line]:
    mark = "done" if event.changed else "ok"
    return [
        Line(f"  {mark} {event.task} {event.subject} ({event.seconds:.1f} s)", "" if event.changed else "dim")
    ]


def _note(event: ev.Note) -> list[Line]:
    style = {"warning": "warn", "error": "bad"}.get(event.level, "")
    lines = [Line(("warning: " if event.level == "warning" else "") + event.message, style)]
    return lines + ([Line(f"  hint: {event.hint}", "dim")] if event.hint else [])


def _stage_started(event: ev.StageStarted) -> list[Line]:
    return [Line(f"{event.stage}: {', '.join(event.hosts)}", "head")]


def _changed(event: ev.Changed) -> list[Line]:
    sign, style = SIGNS.get(event.action, ("~", "change"))
    detail = f"  ({event.detail})" if event.detail else ""
    return [Line(f"  {sign} {event.host}  {event.resource}{detail}", style)]


def _gate(event: ev.GatePassed) -> list[Line]:
    return [Line(f"gate {event.gate}: {event.detail} ({event.seconds:.1f} s)", "good")]


def _failed(event: ev.Failed) -> list[Line]:
    where = f"{event.host}: " if event.host else ""
    lines = [Line(f"FAILED {where}stage '{event.stage}', {event.resource or 'the whole stage'}", "bad")]
    lines += [Line(f"  {text}", "bad") for text in event.reason.splitlines()]
    if event.status is not None:
        at = f", at: {event.script_line}" if event.script_line else ""
        lines.append(Line(f"  exit status {event.status}{at}", "bad"))
    lines += [Line(f"    {text}") for text in event.stderr.splitlines()]
    if event.done:
        lines.append(Line(f"  changed before: {some(event.done)}", "dim"))
    if event.unsure:
        lines.append(Line(f"  begun, and not known to be done: {event.unsure}", "dim"))
    # The first is the one that failed, where it is known which.
    if rest := event.undone[1:] if event.resource else event.undone:
        lines.append(Line(f"  not changed: {some(rest)}", "dim"))
    return lines + ([Line(f"  hint: {event.hint}", "warn")] if event.hint else [])


def _fault_found(event: ev.FaultFound) -> list[Line]:
    some = ", ".join(event.things[:_THINGS]) + f" and {len(event.things) - _THINGS} more" * (
        len(event.things) > _THINGS
    )
    lines = [Line(f"  {event.host}  {event.fault}: {some}", "warn"), Line(f"    why: {event.why}")]
    if not event.mend:
        return [*lines, Line(f"    cannot be mended from here: {event.cost}", "bad")]
    return [*lines, Line(f"    to mend it: {event.mend}"), Line(f"    cost: {event.cost}", "dim")]


_THINGS = 6


def _fault_begun(event: ev.FaultBegun) -> list[Line]:
    return [Line(f"  {event.host}: {event.fault}" if event.fault else "  nothing is broken yet", "dim")]


def _failover(event: ev.FailoverEnded) -> list[Line]:
    from provisioner.report.failover import failover_lines  # tables are rarely shown

    return failover_lines(event)


def _net(event: ev.NetMeasured) -> list[Line]:
    from provisioner.report.netbench import net_lines

    return net_lines(event)


def _exchange(event: ev.ExchangeMeasured) -> list[Line]:
    from provisioner.report.exchange import exchange_lines

    return exchange_lines(event)


def _ended(event: ev.RunEnded) -> list[Line]:
    changed = sum(event.changed.values())
    lines = _phases(event)
    if not event.ok and "drift" in event.extra:
        return [*lines, Line(f"failed after {event.seconds:.1f} s", "bad")]
    if not event.ok:
        stay = f"{changed} change{' was' if changed == 1 else 's were'} made and stay{'s' * (changed == 1)}"
        stay = stay if changed else "nothing was changed"
        left = sum(sum(each.values()) for each in event.left.values())
        more = f", {left} not made" if left else ""
        lines.append(Line(f"failed after {event.seconds:.1f} s; {stay}{more}", "bad"))
        for stage, hosts in event.left.items():
            counts = ", ".join(f"{host} ({count})" for host, count in hosts.items())
            lines.append(Line(f"  not made: stage '{stage}' on {counts}", "dim"))
        if event.resume:
            lines.append(Line(f"go on with: {event.resume}", "warn"))
        return lines
    if "planned" in event.extra:
        return [*lines, Line(f"planned, and nothing was changed ({event.seconds:.1f} s)", "good")]
    if "faults" in event.extra:
        many = counted(event.extra["faults"], "fault") if event.extra["faults"] else "no fault"
        return [*lines, Line(f"{many} found, and nothing was changed ({event.seconds:.1f} s)", "good")]
    what = f"{changed} change{'s' * (changed != 1)}" if changed else "nothing to change"
    drift = event.extra.get("drift")
    if drift:
        differ = "1 thing differs" if drift == 1 else f"{drift} things differ"
        return [*lines, Line(f"{differ} from what is wanted ({event.seconds:.1f} s)", "bad")]
    return [*lines, Line(f"{what}, all as wanted ({event.seconds:.1f} s)", "good")]


def _phases(event: ev.RunEnded) -> list[Line]:
    """A table: what took how long and changed how much."""
    if not event.phases:
        return []
    width = max(len(name) for name in event.phases)
    lines = [Line(f"  {'stage':<{width}}  changes    time", "dim")]
    for name, seconds in event.phases.items():
        count = event.changed.get(name, 0)
        lines.append(Line(f"  {name:<{width}}  {count or '':>7}  {seconds:>4.1f} s", "dim"))
    return lines


def _image_pushed(event: ev.ImagePushed) -> list[Line]:
    if not event.changed:
        return [Line(f"  ok {event.where}@{event.digest[:19]}  {event.reference}", "dim")]
    parts = [f"{counted(event.sent, 'blob')} sent, {size(event.bytes)}"] if event.sent else []
    parts += [
        f"{count} {how}" for count, how in ((event.mounted, "mounted"), (event.skipped, "there")) if count
    ]
    told = f"{event.reference} ({', '.join((*parts, f'{event.seconds:.1f} s'))})"
    if event.before:
        return [Line(f"  ~ {event.where} was {event.before[:19]}, is {event.digest[:19]}  {told}", "change")]
    return [Line(f"  + {event.where}@{event.digest[:19]}  {told}")]


def _push_ended(event: ev.PushEnded) -> list[Line]:
    blobs = (
        f"{counted(event.sent, 'blob')} sent ({size(event.bytes)}), {event.mounted} mounted,"
        f" {event.skipped} {'was' if event.skipped == 1 else 'were'} there"
    )
    new = f"{event.changed - event.moved} new" + (f", {event.moved} changed" if event.moved else "")
    images = counted(event.images, "image")
    return [Line(f"{event.registry} has {images}, {new}: {blobs}, {event.seconds:.1f} s", "good")]


_TELL: Mapping[type[ev.Event], Callable[[Any], list[Line]]] = {
    ev.RunStarted: _run_started,
    ev.Progress: _progress,
    ev.Step: _step,
    ev.Note: _note,
    ev.StageStarted: _stage_started,
    ev.Changed: _changed,
    ev.GatePassed: _gate,
    ev.Failed: _failed,
    ev.FaultFound: _fault_found,
    ev.FaultBegun: _fault_begun,
    ev.FailoverEnded: _failover,
    ev.NetMeasured: _net,
    ev.ExchangeMeasured: _exchange,
    ev.ImagePushed: _image_pushed,
    ev.PushEnded: _push_ended,
    ev.RunEnded: _ended,
}
