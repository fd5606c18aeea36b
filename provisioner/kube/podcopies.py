"""Copies of pods that nobody makes anew: they lie on the state host's disk while the pods are gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.marks import ask
from provisioner.kube.workloads import Pod
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import LOCK_SECONDS, locked

FOLDER = "/var/lib/provision/migration"
"""On the state host: pods that nobody makes anew lie here while they are gone."""
ROLL_SECONDS, POD_SECONDS = 600, 60
"""How long one pod's end, or a rollout, may take, and what each of its pods adds."""
ENDED = ("Succeeded", "Failed")
"""Phases of a pod that runs no more."""
COLUMNS = "{.metadata.uid},{.metadata.deletionTimestamp},{.status.phase}"
LOOK = f"""
look() {{
  said=$({KUBECTL} -n "$1" get pod "$2" --ignore-not-found -o {quote(f"jsonpath={COLUMNS}")}) || return 1
  case $said in
    '') echo gone ;;
    {" | ".join(f"*,,{each}" for each in ENDED)}) echo "${{said%%,*}} ended" ;;
    *,,*) echo "${{said%%,*}} live" ;;
    *) echo "${{said%%,*}} ending" ;;
  esac
}}
"""
"""Defines `look NAMESPACE NAME`: the uid of the pod that is there and whether it is live, ending or ended; or gone."""


def save(runner: Runner, pod: Pod) -> bool:
    """On the state host's disk, before it is deleted: who is killed then has it still. False for one that needs no
    move, because it has ended, or somebody else has deleted it, since it was read: a copy would run once more. Raises
    ProvisionError."""
    get = f"get pod {quote(pod.name)} --ignore-not-found -o json"
    said = ask(runner, f"{KUBECTL} -n {quote(pod.namespace)} {get}\n")
    found = json.loads(said) if said.strip() else None
    if found is None or not _lives(found, pod):
        return False
    text = json.dumps(bare(found), sort_keys=True)
    path = _path(pod)
    kept = f"{quote(path)}.new"
    script = f'set -e\numask 077\nmkdir -p {FOLDER}/pods\ncp "$W/pod" {kept}\nmv {kept} {quote(path)}\n'
    if runner.run(Script(script, {"pod": Blob.of(text.encode())})).status != 0:
        raise ProvisionError(f"{runner.host}: {path} cannot be written")
    return True


def forget(runner: Runner, pod: Pod) -> None:
    """Its copy is not to be created: it has not been deleted by us. Raises ProvisionError."""
    if (
        runner.run(Script(locked(f"rm -f -- {quote(_path(pod))}") + "\n"), deadline=60 + LOCK_SECONDS).status
        != 0
    ):
        raise ProvisionError(f"{runner.host}: {_path(pod)} does not go")


def saved(runner: Runner) -> list[str]:
    """NAMESPACE/NAME of those that an earlier run has kept, and perhaps deleted. Raises ProvisionError."""
    said = ask(runner, f"ls {FOLDER}/pods 2>/dev/null || :\n").decode(errors="replace")
    return [
        each.removesuffix(".json").replace("_", "/", 1)
        for each in said.splitlines()
        if each.endswith(".json")
    ]


def recreate_saved(runner: Runner, *, waiting: bool = True) -> None:
    """Creates those that were saved and are gone, once no script of a run that was killed can still end one; without
    `waiting` for them to be Ready. Raises ProvisionError."""
    wait = (
        f'{KUBECTL_WAITING} -n "$namespace" wait --for=condition=Ready --timeout={POD_SECONDS}s "pod/$name"'
    )
    script = f"""{locked(":")} || exit 1
{LOOK}
for f in {FOLDER}/pods/*.json; do
  [ -e "$f" ] || continue
  n=${{f##*/}}
  n=${{n%.json}}
  namespace=${{n%%_*}}
  name=${{n#*_}}
  end=$(($(date +%s) + {ROLL_SECONDS}))
  until there=$(look "$namespace" "$name") && [ "${{there% ending}}" = "$there" ]; do
    if [ "$(date +%s)" -ge "$end" ]; then echo "$namespace/$name does not end" >&2; exit 1; fi
    sleep 0.5
  done
  if [ "$there" = gone ] && ! {KUBECTL} create -f "$f" >/dev/null; then
    # With its namespace it would have gone, too.
    space=$({KUBECTL} get namespace "$namespace" --ignore-not-found -o 'jsonpath={{.status.phase}}') || exit 1
    [ "$space" != Active ] || exit 1
    rm -f -- "$f"
    continue
  fi
  rm -f -- "$f"
  {wait if waiting else ":"} >/dev/null 2>&1 || :
done
"""
    result = runner.run(Script(script), deadline=2 * ROLL_SECONDS + LOCK_SECONDS)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-300:]
        raise ProvisionError(
            f"a pod that nobody makes anew could not be created again: {said}",
            f"it lies in {FOLDER}/pods on {runner.host}; then run the same command again",
        )


def _lives(found: Mapping[str, Any], pod: Pod) -> bool:
    metadata = found["metadata"]
    return (
        metadata["uid"] == pod.uid
        and "deletionTimestamp" not in metadata
        and found.get("status", {}).get("phase") not in ENDED
    )


def _path(pod: Pod) -> str:
    return f"{FOLDER}/pods/{pod.namespace}_{pod.name}.json"


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
