"""The health of a cluster at one glance, or as one JSON value."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from provisioner.engine.health import ClusterHealth, HostHealth, NodeHealth
from provisioner.report.tables import coloured, duration, many, table
from provisioner.report.wording import Line

_SOON = dt.timedelta(days=30)
"""Ends of certificates nearer than this stand out."""


def show_status(health: ClusterHealth, *, as_json: bool) -> None:
    """Prints it."""
    if as_json:
        sys.stdout.write(json.dumps(status_value(health), default=_plain, separators=(",", ":")) + "\n")
        return
    for line in status_lines(health):
        sys.stdout.write(coloured(line) + "\n")


def status_value(health: ClusterHealth) -> dict[str, Any]:
    """Plain data, but for times."""
    value = {
        "event": "Status",
        "healthy": health.exit_code == 0,
        "troubles": health.troubles,
        **asdict(health),
    }
    drift = [host.drift for host in health.hosts if host.drift is not None]
    return {**value, "drift": sum(drift) if not health.drift_unknown else None}


def status_lines(health: ClusterHealth) -> list[Line]:
    """Summary, nodes, control plane, hosts, and what is wrong."""
    lines = [_verdict(health), Line(f"  {_versions(health)}")]
    if health.uuid:
        lines.append(Line(f"  uuid {health.uuid}, state format {health.state_format}", "dim"))
    lines += [_drift(health), _last_run(health)]
    for part in (_nodes(health), _components(health), _hosts(health)):
        lines += [Line(""), *part] if part else []
    troubles = health.troubles
    told = [Line(f"! {each}", "bad") for each in troubles] + [
        Line(f"? {each}", "warn") for each in health.warnings
    ]
    return [*lines, Line(""), *told] if told else lines


def _verdict(health: ClusterHealth) -> Line:
    word, style = {0: ("healthy", "good"), 4: ("not all hosts are reached", "bad")}.get(
        health.exit_code, ("not healthy", "bad")
    )
    return Line(f"cluster {health.name}: {word}", style)


def _versions(health: ClusterHealth) -> str:
    found = health.versions or {}
    kubernetes = found.get("kubernetes", "?")
    wanted = "" if kubernetes == health.wanted else f" (wanted: {health.wanted})"
    parts = [f"kubernetes {kubernetes}{wanted}", f"etcd {found.get('etcd', '?')}", found.get("runtime", "")]
    return ", ".join([*(part for part in parts if part), health.network, f"kube-proxy {health.proxy}"])


def _drift(health: ClusterHealth) -> Line:
    if health.drift_unknown:
        return Line(f"  drift is not known: {health.drift_unknown.splitlines()[0]}", "warn")
    counts = {host.name: host.drift for host in health.hosts if host.drift}
    dark = ", ".join(host.name for host in health.hosts if host.drift is None)
    rest = f"; not known of {dark}" if dark else ""
    if not counts and dark:
        return Line(f"  no drift on the hosts that were read{rest}", "warn")
    if not counts:
        return Line("  no drift: apply would change nothing", "good")
    where = ", ".join(f"{count} on {name}" for name, count in counts.items())
    total = sum(map(int, counts.values()))
    return Line(f"  drift: apply would make {many(total, 'change')}: {where}{rest}", "warn")


def _last_run(health: ClusterHealth) -> Line:
    run = health.last_run
    if run is None:
        return Line("  no run from this machine is on record", "dim")
    ago = duration(max(0.0, health.at.timestamp() - run.began))
    told = f"{run.command} {run.options}".rstrip()
    how = f"{run.result}, {many(run.changes, 'change')}"
    text = f"  last run from here: {told} by {run.who or 'somebody'}, {ago} ago: {how}"
    return Line(text, "" if run.result == "ok" else "warn")


def _nodes(health: ClusterHealth) -> list[Line]:
    rows = [("node", "ready", "version", "age", "roles")]
    rows += [
        (
            node.name,
            "yes" if node.ready else "no",
            node.version or "-",
            duration(node.age) if node.joined else "-",
            " ".join((", ".join(node.roles), *_remarks(node))).strip(),
        )
        for node in health.nodes
    ]
    return _table(rows, ["" if node.ready else "bad" for node in health.nodes])


def _remarks(node: NodeHealth) -> Iterator[str]:
    if not node.schedulable:
        yield "(cordoned)"
    if not node.known:
        yield "(not in the inventory)"
    if not node.joined:
        yield "(not joined)"


def _components(health: ClusterHealth) -> list[Line]:
    rows = [("control plane", "host", "")]
    rows += [(each.name, each.host, "ok  " * each.well + each.detail) for each in health.components]
    return _table(rows, ["" if each.well else "bad" for each in health.components])


def _hosts(health: ClusterHealth) -> list[Line]:
    rows = [
        ("host", "services", "drift", "certificates end", ""),
        *(_host(host, health.at) for host in health.hosts),
    ]
    return _table(rows, [_style(host, health.at) for host in health.hosts])


def _host(host: HostHealth, now: dt.datetime) -> tuple[str, ...]:
    if not host.reached:
        return (host.name, "not reached", "-", "-", "")
    idle, soonest = len(host.idle), host.soonest
    services = f"{len(host.units) - idle} of {len(host.units)} run" if host.units else "-"
    if soonest is None:
        ends, first = "-", ""
    else:
        left = (soonest.ends - now).total_seconds()
        ends, first = f"in {duration(left)}" if left > 0 else "ended", soonest.path
    return (host.name, services, "-" if host.drift is None else str(host.drift), ends, first)


def _style(host: HostHealth, now: dt.datetime) -> str:
    if not host.reached or host.idle:
        return "bad"
    ends = host.soonest.ends if host.soonest else None
    if ends is not None and ends < now + _SOON:
        return "bad" if ends <= now else "warn"
    return "warn" if host.drift else ""


def _table(rows: Sequence[Sequence[str]], styles: Sequence[str]) -> list[Line]:
    if len(rows) == 1:
        return []
    head, *lines = table(rows)
    return [Line(head, "dim"), *(Line(line, style) for line, style in zip(lines, styles, strict=True))]


def _plain(value: Any) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, dt.datetime) else str(value)
