"""Pods are made anew, so that they get an address of another network: by their workloads, which start the new one
before they end the old one, by eviction, or all at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.marks import ask
from provisioner.kube.workloads import MARK, Pod, Reading, Workload, read_workloads
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

FOLDER = "/var/lib/provision/migration"
"""On the state host: pods that nobody makes anew lie here while they are gone."""
ROLL_SECONDS, POD_SECONDS = 600, 60
"""How long one pod's end, or a rollout, may take, and what each of its pods adds."""
_PAUSE = 2.0
"""Seconds between two attempts of an eviction: each goes over SSH."""
_AT_ONCE = 5
"""Workloads that are rolled side by side."""
Old = Callable[[Reading], Sequence[Pod]]
"""Those pods that are to be made anew."""


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
        """Makes the old pods of the node, or of all, anew, one workload's after the other: how many there were.

        Raises ProvisionError naming what was not ready in time; the same call goes on then."""
        self.recreate_saved()
        reading = self.read()
        pods = [each for each in self.old(reading) if node in (None, each.node)]
        makers = {
            maker.place: maker
            for each in pods
            if (maker := reading.maker(each)) and maker.may_roll(self.mark)
        }
        waiting = list(makers.values())
        for at in range(0, len(waiting), _AT_ONCE):
            self._rolled(waiting[at : at + _AT_ONCE])
        # What is left was of no workload that rolls, or a rollout that was another's.
        reading = self.read()
        rest = [each for each in self.old(reading) if node in (None, each.node) and not each.ending]
        for pod in rest:
            self._evicted(pod)
        self._gone(pods + rest)
        return len({*pods, *rest})

    def replace(self) -> int:
        """Deletes all old pods at once: how many there were."""
        self.recreate_saved()
        pods = [each for each in self.old(self.read()) if not each.ending]
        for pod in pods:
            if pod.owner is None:
                self._save(pod)
        lines = "".join(
            f"{KUBECTL} -n {quote(each.namespace)} delete pod {quote(each.name)} --wait=false --ignore-not-found"
            f" >/dev/null {'&' if index % 20 else ''}\n"
            for index, each in enumerate(pods, 1)
        )
        ask(self.runner, locked(lines + "wait\n") + "\n")
        self._gone(pods)
        self.recreate_saved()
        return len(pods)

    def _rolled(self, workloads: Sequence[Workload]) -> None:
        patch = quote(json.dumps({"spec": {"template": {"metadata": {"annotations": {MARK: self.mark}}}}}))
        started = "".join(
            f"{KUBECTL} -n {quote(each.namespace)} patch {each.kind.lower()} {quote(each.name)} --type merge"
            f" --field-manager=provision-migrate -p {patch} >/dev/null\n"
            for each in workloads
            if each.mark != self.mark
        )
        ask(self.runner, locked("set -e\n" + started + ":") + "\n")
        seconds = ROLL_SECONDS + POD_SECONDS * max(each.pods for each in workloads)
        waits = "".join(
            f"{KUBECTL_WAITING} -n {quote(each.namespace)} rollout status --timeout={seconds}s"
            f" {each.kind.lower()}/{quote(each.name)} >/dev/null 2>&1 || echo {quote(each.place)} &\n"
            for each in workloads
        )
        result = self.runner.run(Script(waits + "wait\n"), deadline=seconds + 60)
        late = result.stdout.decode(errors="replace").splitlines()
        if late or result.status != 0:
            raise ProvisionError(
                f"not all pods were made anew, and Ready, in time: {', '.join(sorted(late))}",
                "see `kubectl describe` of these and of their pods, mend that, and run the same command again",
            )

    def _evicted(self, pod: Pod) -> None:
        """As its budget allows, and until as many pods of its maker are Ready as were; nobody makes it anew: by us."""
        if pod.owner is None:
            self._save(pod)
        ready = _ready_again(pod)
        before = int(ask(self.runner, f"{ready}\nready\n"))
        self._let_go(pod)
        script = f"""{ready}
{KUBECTL_WAITING} -n {quote(pod.namespace)} wait --for=delete --timeout={ROLL_SECONDS}s pod/{quote(pod.name)} \\
  >/dev/null 2>&1 || :
end=$(($(date +%s) + {ROLL_SECONDS}))
until now=$(ready) && [ "$now" -ge {before} ]; do
  if [ "$(date +%s)" -ge "$end" ]; then echo "it has gone, and the one in its place is not Ready" >&2; exit 1; fi
  sleep 1
done
"""
        result = self.runner.run(Script(script), deadline=2 * ROLL_SECONDS + 60)
        if result.status != 0:
            raise _stays(pod, result.stderr)
        self.recreate_saved()

    def _let_go(self, pod: Pod) -> None:
        """Evicts it, once its budget allows that. It is tried from here, again and again: a loop on the host would go
        on when we are killed, and evict the pod after the next run has found it there and forgotten its copy."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
        }
        path = quote(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction")
        try_it = f"""{KUBECTL} create --raw {path} -f "$W/eviction.json" >/dev/null 2>"$W/said" ||
  grep -q NotFound "$W/said" || {{ cat "$W/said" >&2; exit 1; }}"""
        script = Script(locked(try_it) + "\n", {"eviction.json": Blob.of(json.dumps(eviction).encode())})
        end = time.monotonic() + ROLL_SECONDS
        while (result := self.runner.run(script, deadline=60 + LOCK_SECONDS)).status != 0:
            if time.monotonic() >= end:
                raise _stays(pod, result.stderr)
            time.sleep(_PAUSE)

    def _gone(self, pods: Iterable[Pod]) -> None:
        """Waits until these are no more: their links go with them, by the plug-in that made them. A pod of a
        StatefulSet comes back under its name."""
        uids = {each.uid for each in pods}
        script = Script(
            f"""
end=$(($(date +%s) + {ROLL_SECONDS}))
until {KUBECTL} get pods -A -o jsonpath='{{range .items[*]}}{{.metadata.uid}}{{"\\n"}}{{end}}' >"$W/pods" &&
  ! grep -qxFf "$W/uids" "$W/pods"; do
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

    def _save(self, pod: Pod) -> None:
        """On the state host's disk, before it is deleted: who is killed then has it still."""
        found = json.loads(
            ask(self.runner, f"{KUBECTL} -n {quote(pod.namespace)} get pod {quote(pod.name)} -o json\n")
        )
        text = json.dumps(bare(found), sort_keys=True)
        path = f"{FOLDER}/pods/{pod.namespace}_{pod.name}.json"
        kept = f"{quote(path)}.new"
        script = f'set -e\numask 077\nmkdir -p {FOLDER}/pods\ncp "$W/pod" {kept}\nmv {kept} {quote(path)}\n'
        if self.runner.run(Script(script, {"pod": Blob.of(text.encode())})).status != 0:
            raise ProvisionError(f"{self.runner.host}: {path} cannot be written")

    def recreate_saved(self) -> None:
        """Creates those that were saved and are gone, once no script of a run that was killed can still end one. Raises
        ProvisionError."""
        script = f"""{locked(":")} || exit 1
look() {{
  said=$({KUBECTL} -n "$namespace" get pod "$name" --ignore-not-found \\
    -o 'jsonpath=there{{.metadata.deletionTimestamp}}') || return 1
  case $said in there?*) echo ending ;; *) echo "$said" ;; esac
}}
for f in {FOLDER}/pods/*.json; do
  [ -e "$f" ] || continue
  n=${{f##*/}}
  n=${{n%.json}}
  namespace=${{n%%_*}}
  name=${{n#*_}}
  end=$(($(date +%s) + {ROLL_SECONDS}))
  until there=$(look) && [ "${{there#ending}}" = "$there" ]; do
    if [ "$(date +%s)" -ge "$end" ]; then echo "$namespace/$name does not end" >&2; exit 1; fi
    sleep 0.5
  done
  [ -n "$there" ] || {KUBECTL} create -f "$f" >/dev/null || exit 1
  rm -f -- "$f"
  {KUBECTL_WAITING} -n "$namespace" wait --for=condition=Ready --timeout={POD_SECONDS}s "pod/$name" >/dev/null 2>&1 || :
done
"""
        result = self.runner.run(Script(script), deadline=2 * ROLL_SECONDS + LOCK_SECONDS)
        if result.status != 0:
            said = result.stderr.decode(errors="replace").strip()[-300:]
            raise ProvisionError(
                f"a pod that nobody makes anew could not be created again: {said}",
                f"it lies in {FOLDER}/pods on {self.runner.host}; then run the same command again",
            )


def _stays(pod: Pod, said: bytes) -> ProvisionError:
    return ProvisionError(
        f"the pod {pod.namespace}/{pod.name} cannot be evicted and made anew:"
        f" {said.decode(errors='replace').strip()[-300:]}",
        "`kubectl get poddisruptionbudgets,pods -A` shows what holds it; then run the same command again",
    )


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


def bare(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the same pod once more, on its node: what it needs may be there alone."""
    spec = {name: each for name, each in pod["spec"].items() if name != "ephemeralContainers"}
    tokens = {each["name"] for each in spec.get("volumes", ()) if each["name"].startswith("kube-api-access-")}
    spec["volumes"] = [each for each in spec.get("volumes", ()) if each["name"] not in tokens]
    for group in ("containers", "initContainers"):
        if group in spec:
            spec[group] = [_without_tokens(each, tokens) for each in spec[group]]
    kept = {
        name: pod["metadata"][name] for name in ("name", "namespace", "labels") if name in pod["metadata"]
    }
    notes = {
        name: each
        for name, each in pod["metadata"].get("annotations", {}).items()
        if not name.startswith(("cni.projectcalico.org/", "k8s.v1.cni.cncf.io/network-status"))
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**kept, "annotations": notes}, "spec": spec}


def _without_tokens(container: Mapping[str, Any], tokens: set[str]) -> dict[str, Any]:
    mounts = [each for each in container.get("volumeMounts", ()) if each["name"] not in tokens]
    return {**container, "volumeMounts": mounts}
