"""What in a plan is asked for before it is done: deletes, restarts of a running cluster's etcd or API server, and a
member of etcd in the place of one whose data are missing.

A delete needs no consent where it takes away only what this tool itself has put there, because then the playbook that
is being applied is the whole of the agreement:
- `bootstrap_token` finds nothing but Secrets with the tool's own label;
- `displaced_paths` deletes nothing, it moves aside, and `migrated_mirrors` only writes files;
- `node_marks` are labels and taints that are on record as set by this tool;
- `absent_paths` knows of each path whether it bears the tool's stamp or is written by the same plan; whatever else it
  finds (`foreign`) somebody wants to know of before it is gone for ever, although the playbook names it: a pattern may
  find more than its author thought of.
Every other delete asks.
"""

from __future__ import annotations

from provisioner.engine.plan import Plan
from provisioner.resources.absent import paths_of
from provisioner.resources.model import LEFT_OVER, Change, Present
from provisioner.resources.taken import few, things_of

_PRECIOUS = ("etcd.service", "kube-apiserver.service")
_HARMLESS = ("bootstrap_token", "displaced_paths", "migrated_mirrors", "node_marks")


def dangers(plan: Plan, *, established: bool) -> tuple[str, ...]:
    """The reasons to ask, one for each change, in words; none for a plan that only adds and mends.

    `established`: some node has joined the cluster. Before that a restart of etcd or the API server hurts nobody.
    """
    reasons = []
    for _, host, change in plan.changes():
        if change.action == "delete":
            if what := _deleted(change):
                reasons.append(f"{host}: deletes {what}")
        elif established and change.resource.kind == "api_certificate":
            # Of an API server that others have set up: it reads it at its start.
            reasons.append(f"{host}: restarts kube-apiserver.service, which is running")
        elif established and _restarts(change):
            reasons.append(f"{host}: restarts {change.resource.name}, which is running")
        elif change.resource.kind == "etcd_seed" and change.resource.spec.get("lost"):
            reasons.append(
                f"{host}: its member of etcd has lost its data (is /var/lib/etcd mounted?); a new one takes its place"
            )
        elif _stops(change):
            reasons.append(f"{host}: stops {change.resource.name}, which no stage wants any more")
    return tuple(reasons)


def _stops(change: Change) -> bool:
    return change.resource.kind == "systemd" and LEFT_OVER in change.resource.spec and "active" in change.keys


def _deleted(change: Change) -> str:
    """What somebody may miss; empty when all of it is the tool's own."""
    resource, before = change.resource, change.before
    if resource.kind in _HARMLESS:
        return ""
    if resource.kind == "components" and isinstance(before, Present):
        return few(things_of(before))
    if resource.kind != "absent_paths" or not isinstance(before, Present):
        return resource.id
    foreign = paths_of(before, "foreign")
    return f"{few(list(foreign))}, which it did not put there" if foreign else ""


def _restarts(change: Change) -> bool:
    before = change.before
    running = isinstance(before, Present) and bool(before.attrs.get("active"))
    return (
        change.resource.kind == "systemd"
        and change.resource.name in _PRECIOUS
        and running
        and ("inputs" in change.keys or "active" in change.keys)
    )
