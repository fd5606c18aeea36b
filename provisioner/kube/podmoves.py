"""Pods are made anew, so that they get an address of another network: by their workloads, which start the new one
before they end the old one, by eviction, or all at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.kube.exchange_objects import NAMESPACE as EXCHANGE
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.marks import ask
from provisioner.kube.podcopies import (
    COLUMNS,
    ENDED,
    LOOK,
    POD_SECONDS,
    ROLL_SECONDS,
    forget,
    recreate_saved,
    save,
)
from provisioner.kube.workloads import MARK, Pod, Reading, Workload, read_workloads
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

_PAUSE = 2.0
"""Seconds between two attempts of an eviction: each goes over SSH."""
_LOOK = 0.5
_AT_ONCE = 5
"""Workloads that are rolled side by side."""
_REFUSED = b"TooManyRequests"
"""How kubectl calls it that a budget allows no eviction now."""
_ROW = "{range .items[*]}" + COLUMNS + r'{"\n"}{end}'
_GONE = f"""
gone() {{
  found=$({KUBECTL} -n "$1" get "$2" "$3" --ignore-not-found -o name) || return 1
  [ -z "$found" ]
}}
"""
"""Defines `gone NAMESPACE KIND NAME`: no such object is there."""
Old = Callable[[Reading], Sequence[Pod]]
"""Those pods that are to be made anew."""


@dataclass(frozen=True)
class Replaced:
    """`count` pods were made anew; `seconds` after they were deleted the last of `workloads` had all its pods Ready
    again; `late` had not. Without those by which this tool measures."""

    count: int
    seconds: float = 0.0
    workloads: int = 0
    late: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moves:
    """`mark` is the migration's. `old` says which pods are to go."""

    runner: Runner
    mark: str
    old: Old

    def read(self) -> Reading:
        """Raises ProvisionError when the API server does not answer."""
        return read_workloads(self.runner)

    def roll(self, node: str | None = None) -> int:
        """Makes the old pods of the node, or of all, anew, one workload's after the other: how many there were, with
        those of other nodes that a rollout takes along, and without those by which this tool measures.

        Raises ProvisionError naming what was not ready in time; the same call goes on then."""
        recreate_saved(self.runner)
        reading = self.read()
        every = self.old(reading)
        pods = [each for each in every if node in (None, each.node)]
        makers = {
            maker.place: maker
            for each in pods
            if (maker := reading.maker(each)) and maker.may_roll(self.mark)
        }
        along = [each for each in every if (maker := reading.maker(each)) and maker.place in makers]
        waiting = list(makers.values())
        for at in range(0, len(waiting), _AT_ONCE):
            self._rolled(waiting[at : at + _AT_ONCE])
        # What is left was of no workload that rolls, or a rollout that was another's.
        reading = self.read()
        rest = [each for each in self.old(reading) if node in (None, each.node) and not each.ending]
        for pod in rest:
            self._evicted(pod)
        self._gone(pods + rest)
        return _count({*pods, *along, *rest})

    def replace(self) -> Replaced:
        """Deletes all old pods at once, and waits for the workloads that had all of theirs to have them again."""
        recreate_saved(self.runner)
        reading = self.read()
        found = [each for each in self.old(reading) if not each.ending]
        pods = [each for each in found if each.owner is not None or save(self.runner, each)]
        makers = [maker for each in pods if (maker := reading.maker(each)) and maker.well]
        # By a selector, so that those which end meanwhile stay.
        lines = "".join(
            f"{KUBECTL} -n {quote(each.namespace)} delete pod --wait=false --field-selector={quote(_live(each))}"
            f" >/dev/null {'&' if index % 20 else ''}\n"
            for index, each in enumerate(pods, 1)
        )
        began = time.monotonic()
        ask(self.runner, locked(lines + "wait\n") + "\n")
        self._gone(pods)
        recreate_saved(self.runner, waiting=False)
        return self._whole_again(
            {each.place for each in makers if each.namespace != EXCHANGE}, began, _count(pods)
        )

    def _whole_again(self, places: Collection[str], began: float, count: int) -> Replaced:
        """Waits for workloads, but for those that are deleted meanwhile."""
        end, left, whole, seconds = time.monotonic() + POD_SECONDS, {*places}, 0, 0.0
        while left and time.monotonic() < end:
            there = {each.place: each.well for each in self.read().workloads.values()}
            done = {place for place in left if there.get(place)}
            if done:
                whole, seconds = whole + len(done), time.monotonic() - began
            left = (left & there.keys()) - done
            if left:
                time.sleep(_LOOK)
        return Replaced(count, seconds, whole, tuple(sorted(left)))

    def _rolled(self, workloads: Sequence[Workload]) -> None:
        patch = quote(json.dumps({"spec": {"template": {"metadata": {"annotations": {MARK: self.mark}}}}}))
        # One that has been deleted since it was read has no pods to move.
        started = "".join(
            f"{KUBECTL} -n {quote(each.namespace)} patch {each.kind.lower()} {quote(each.name)} --type merge"
            f" --field-manager=provision-migrate -p {patch} >/dev/null || gone {quote(each.namespace)}"
            f" {each.kind.lower()} {quote(each.name)}\n"
            for each in workloads
            if each.mark != self.mark
        )
        ask(self.runner, locked(f"set -e\n{_GONE}{started}:") + "\n")
        seconds = ROLL_SECONDS + POD_SECONDS * max(each.pods for each in workloads)
        waits = "".join(
            f"{KUBECTL_WAITING} -n {quote(each.namespace)} rollout status --timeout={seconds}s"
            f" {each.kind.lower()}/{quote(each.name)} >/dev/null 2>&1 ||"
            f" gone {quote(each.namespace)} {each.kind.lower()} {quote(each.name)} || echo {quote(each.place)} &\n"
            for each in workloads
        )
        result = self.runner.run(Script(f"{_GONE}{waits}wait\n"), deadline=seconds + 60)
        late = result.stdout.decode(errors="replace").splitlines()
        if late or result.status != 0:
            raise ProvisionError(
                f"not all pods were made anew, and Ready, in time: {', '.join(sorted(late))}",
                "see `kubectl describe` of these and of their pods, mend that, and run the same command again",
            )

    def _evicted(self, pod: Pod) -> None:
        """As its budget allows, and until as many pods of its maker are Ready as were; nobody makes it anew: by us. Who
        has ended or is gone meanwhile needs no move."""
        if pod.owner is None and not save(self.runner, pod):
            return
        ready = _ready_again(pod)
        before = int(ask(self.runner, f"{ready}\nready\n"))
        wanted = _wanted(pod)
        if not self._let_go(pod) and pod.owner is None:
            forget(self.runner, pod)
        script = f"""{_look(pod)}{ready}{wanted}
end=$(($(date +%s) + {ROLL_SECONDS}))
until there=$(look_at) && case $there in live | ending) false ;; esac; do
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.5
done
end=$(($(date +%s) + {ROLL_SECONDS}))
until now=$(ready) && {{ [ "$now" -ge {before} ] || enough "$now"; }}; do
  if [ "$(date +%s)" -ge "$end" ]; then echo "it has gone, and the one in its place is not Ready" >&2; exit 1; fi
  sleep 1
done
"""
        result = self.runner.run(Script(script), deadline=2 * ROLL_SECONDS + 60)
        if result.status != 0:
            raise _stays(pod, result.stderr)
        recreate_saved(self.runner)

    def _let_go(self, pod: Pod) -> bool:
        """Evicts it, once its budget allows that; False where it needs no eviction: it has ended, or others have
        deleted it. It is tried from here, again and again: a loop on the host would go on when we are killed, and evict
        the pod after the next run has found it there and forgotten its copy."""
        script = _eviction(pod)
        end = time.monotonic() + ROLL_SECONDS
        perhaps = False
        while (result := self.runner.run(script, deadline=60 + LOCK_SECONDS)).status != 0:
            # Only of what was refused it is certain that it has not been done.
            perhaps = perhaps or _REFUSED not in result.stderr
            if time.monotonic() >= end:
                raise _stays(pod, result.stderr)
            time.sleep(_PAUSE)
        return {b"live": True, b"ended": False}.get(result.stdout.strip(), perhaps)

    def _gone(self, pods: Iterable[Pod]) -> None:
        """Waits until these are no more, or have ended: their links go with them, by the plug-in that made them. A pod
        of a StatefulSet comes back under its name."""
        uids = {each.uid for each in pods}
        script = Script(
            f"""
end=$(($(date +%s) + {ROLL_SECONDS}))
until {KUBECTL} get pods -A -o jsonpath={quote(_ROW)} >"$W/rows" &&
  sed -E '/,,({"|".join(ENDED)})$/d;s/,.*//' "$W/rows" >"$W/pods" && ! grep -qxFf "$W/uids" "$W/pods"; do
  [ "$(date +%s)" -lt "$end" ] || exit 1
  sleep 0.3
done
""",
            {"uids": Blob.of("".join(f"{each}\n" for each in sorted(uids)).encode())},
        )
        if uids and self.runner.run(script, deadline=ROLL_SECONDS + 60).status != 0:
            still = [f"{each.namespace}/{each.name}" for each in self.read().pods if each.uid in uids]
            raise ProvisionError(
                f"pods do not end within {ROLL_SECONDS} s: {', '.join(still)}",
                "see `kubectl describe` of these, then run the same command again",
            )


def _count(pods: Iterable[Pod]) -> int:
    return sum(each.namespace != EXCHANGE for each in pods)


def _live(pod: Pod) -> str:
    return ",".join([f"metadata.name={pod.name}", *(f"status.phase!={each}" for each in ENDED)])


def _look(pod: Pod) -> str:
    """Defines `look_at`, which prints whether that very pod is `live`, `ending`, `ended` or `gone`."""
    return f"""{LOOK}
look_at() {{
  there=$(look {quote(pod.namespace)} {quote(pod.name)}) || return 1
  case $there in {quote(pod.uid)}\\ *) echo "${{there#* }}" ;; *) echo gone ;; esac
}}
"""


def _eviction(pod: Pod) -> Script:
    """One attempt, which prints what it has found: only one that is live is evicted, and not another one of its name,
    which is in the new network (kubernetes, pkg/registry/core/pod/storage/eviction.go)."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
    path = quote(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction")
    try_it = f"""{_look(pod)}
there=$(look_at) || exit 1
if [ "$there" = live ] && ! {KUBECTL} create --raw {path} -f "$W/eviction.json" >/dev/null 2>"$W/said"; then
  grep -qE 'NotFound|the UID in the precondition' "$W/said" || {{ cat "$W/said" >&2; exit 1; }}
  there=gone
fi
echo "$there"
"""
    return Script(locked(try_it) + "\n", {"eviction.json": Blob.of(json.dumps(eviction).encode())})


def _stays(pod: Pod, said: bytes) -> ProvisionError:
    return ProvisionError(
        f"the pod {pod.namespace}/{pod.name} cannot be evicted and made anew:"
        f" {said.decode(errors='replace').strip()[-300:]}",
        "`kubectl get poddisruptionbudgets,pods -A` shows what holds it; then run the same command again",
    )


def _wanted(pod: Pod) -> str:
    """Defines `enough READY`: its maker wants no more pods by now, or is gone and with it all that it had."""
    kind, name = pod.owner or ("", "")
    if kind not in ("ReplicaSet", "StatefulSet", "ReplicationController", "DaemonSet"):
        return "\nenough() { false; }"
    field = "{.status.desiredNumberScheduled}" if kind == "DaemonSet" else "{.spec.replicas}"
    return f"""
enough() {{
  many=$({KUBECTL} -n {quote(pod.namespace)} get {kind.lower()} {quote(name)} --ignore-not-found \\
    -o {quote(f"jsonpath={field}")}) || return 1
  if [ -n "$many" ]; then [ "$1" -ge "$many" ]; else [ "$1" -eq 0 ]; fi
}}"""


def _ready_again(pod: Pod) -> str:
    """Defines `ready`, which prints how many pods of the same maker are Ready; 0 where none has to be again: a Job's
    pods end, and a pod without a maker is made by us."""
    if pod.owner is None or pod.owner[0] == "Job":
        return "ready() { echo 0; }"
    row = (
        r"{range .items[*]}{.metadata.ownerReferences[?(@.controller==true)].kind}/"
        r"{.metadata.ownerReferences[?(@.controller==true)].name} {.metadata.deletionTimestamp} "
        r'{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'
    )
    return f"""
ready() {{
  {KUBECTL} -n {quote(pod.namespace)} get pods -o jsonpath={quote(row)} >"$W/rows" || return 1
  grep -cxF {quote(f"{pod.owner[0]}/{pod.owner[1]}  True")} "$W/rows" || :
}}"""
