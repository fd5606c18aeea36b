"""What in a plan is asked for before it is done: deletes, and restarts of a running cluster's etcd or API server."""

from __future__ import annotations

from provisioner.engine.plan import Plan
from provisioner.resources.model import Change, Present

_PRECIOUS = ("etcd.service", "kube-apiserver.service")


def dangers(plan: Plan) -> tuple[str, ...]:
    """The reasons to ask, one for each change, in words; none for a plan that only adds and mends."""
    created: set[tuple[str, str]] = set()
    reasons = []
    for _, host, change in plan.changes():
        if change.action == "delete" and not _transient(host, change, created):
            reasons.append(f"{host}: deletes {change.resource.id}")
        elif _restarts(change):
            reasons.append(f"{host}: restarts {change.resource.name}, which is running")
        created |= {(host, path) for path in change.resource.writes if change.action == "create"}
    return tuple(reasons)


def _transient(host: str, change: Change, created: set[tuple[str, str]]) -> bool:
    """What the same plan makes and takes away again (a joining node's token)."""
    return any((host, path) in created for path in change.resource.writes)


def _restarts(change: Change) -> bool:
    before = change.before
    running = isinstance(before, Present) and bool(before.attrs.get("active"))
    return change.resource.kind == "systemd" and change.resource.name in _PRECIOUS and running and (
        "inputs" in change.keys or "active" in change.keys
    )
