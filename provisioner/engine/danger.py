"""What in a plan is asked for before it is done: deletes, and restarts of a running cluster's etcd or API server."""

from __future__ import annotations

from provisioner.engine.plan import Plan
from provisioner.resources.model import LEFT_OVER, Change, Present

_DECLARED = ("absent_paths", "bootstrap_token", "displaced_paths")
"""Playbooks use them for what a run itself leaves (a joining node's token), or to move things aside: not asked for."""

_PRECIOUS = ("etcd.service", "kube-apiserver.service")


def dangers(plan: Plan, *, established: bool) -> tuple[str, ...]:
    """The reasons to ask, one for each change, in words; none for a plan that only adds and mends.

    `established`: some node has joined the cluster. Before that a restart of etcd or the API server hurts nobody.
    """
    reasons = []
    for _, host, change in plan.changes():
        if change.action == "delete" and change.resource.kind not in _DECLARED:
            reasons.append(f"{host}: deletes {change.resource.id}")
        elif established and _restarts(change):
            reasons.append(f"{host}: restarts {change.resource.name}, which is running")
        elif _stops(change):
            reasons.append(f"{host}: stops {change.resource.name}, which no stage wants any more")
    return tuple(reasons)


def _stops(change: Change) -> bool:
    return change.resource.kind == "systemd" and LEFT_OVER in change.resource.spec and "active" in change.keys


def _restarts(change: Change) -> bool:
    before = change.before
    running = isinstance(before, Present) and bool(before.attrs.get("active"))
    return (
        change.resource.kind == "systemd"
        and change.resource.name in _PRECIOUS
        and running
        and ("inputs" in change.keys or "active" in change.keys)
    )
