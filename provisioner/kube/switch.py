"""The module `endpoint_switch`, around the kubeconfigs of a joined node: the API server gets another address there.

The host takes the new one on approval, and else goes back (kube.wayback). What returns is seen in the cluster: a lease
that its kubelet renewed after the switch, by the host's own clock in both.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Mapping, Sequence

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.kube.wayback import APPROVE, FOLDER, GO_BACK, begin
from provisioner.resources.model import Absent, Change, Present, Resource, Runner, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

RETURN_SECONDS = 60.0
"""A kubelet renews its lease every 10 s; it is Ready again some seconds after its start."""

# What is written in the second in which a service starts would pass for changed after that.
_RESTART = f"""
sleep 1
date +%%s.%%N >{FOLDER}/switched
systemctl restart -- %(units)s
echo %(nonce)s >{FOLDER}/restarted
"""
STEPS = ("begin", "restart")


class EndpointSwitchKind:
    """Present when this run has done the step `begin` (before the files are written) or `restart` (after)."""

    name = "endpoint_switch"

    def __init__(self) -> None:
        # A run that was killed has left the host with its time running: it is set anew.
        self._nonce = secrets.token_hex(8)

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"step": str, "files": list, "units": list}, {})
        step = str(task.args["step"])
        if step not in STEPS:
            raise task.error(f"unknown step '{step}'", f"use one of {', '.join(STEPS)}", "step")
        files = tuple(task.absolute(str(each), "files") for each in task.args["files"])
        spec = {"step": step, "files": files, "units": tuple(map(str, task.args["units"]))}
        return [Resource("endpoint_switch", step, Present(), spec)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        return Script(f"grep -ls {self._nonce} {FOLDER}/begun {FOLDER}/restarted || :\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        done = {line.rpartition("/")[2] for line in output.decode(errors="replace").splitlines()}
        marks = {"begin": "begun", "restart": "restarted"}
        return {each.id: Present() if marks[each.name] in done else Absent() for each in resources}

    def change(self, change: Change) -> Script:
        spec = change.resource.spec
        if spec["step"] == "restart":
            return Script(_RESTART % {"units": words(spec["units"]), "nonce": self._nonce})
        made = begin(dict.fromkeys(spec["files"], ""), spec["units"])
        return Script(f"{made.main}echo {self._nonce} >{FOLDER}/begun\n", made.payload)


def await_return(plane: Runner, nodes: Mapping[str, Runner]) -> str:
    """Waits until the switched of `nodes` have returned, and approves. Raises ProvisionError, once they have gone back,
    with the names of those that have not; UnreachableError of a host that is lost, which goes back by itself, once the
    others are approved."""
    lost: list[UnreachableError] = []
    switched = {name: moment for name in nodes if (moment := _switched_at(nodes[name], lost))}
    missing, end = set(switched), time.monotonic() + RETURN_SECONDS
    while missing:
        missing -= {
            name for name, moment in _alive(plane).items() if moment >= switched.get(name, moment + 1)
        }
        if not missing or time.monotonic() > end:
            break
        time.sleep(0.3)
    for name in switched.keys() - missing:
        if _tried(nodes[name], locked(APPROVE), 30, lost) is None:
            missing.add(name)
    for name in missing:
        _tried(nodes[name], GO_BACK, 120, lost)
    if lost:
        raise lost[0]
    if missing:
        raise ProvisionError(
            f"{', '.join(sorted(missing))}: not Ready again with the API server's new address within"
            f" {RETURN_SECONDS:.0f} s; the kubeconfigs of before are in their place again",
            "can that host reach the address? see `journalctl -u kubelet` there",
        )
    return f"{', '.join(sorted(switched)) or 'no node'}: Ready again"


def check_nodes_ready(runner: Runner, names: Sequence[str]) -> None:
    """For nodes that are to be led elsewhere one by one, each of which has to be Ready again: one that is not so before
    would stop that for all. One that has just booted gets the time of a return. Raises ProvisionError with names."""
    script, end = f"{KUBECTL} get nodes -o jsonpath={quote(_READY)}\n", time.monotonic() + RETURN_SECONDS
    ill = list[str]()
    while True:
        result = runner.run(Script(script), deadline=60)
        if result.status == 0:
            ready = _ready(result.stdout.decode(errors="replace"))
            ill = [name for name in names if name not in ready]
        if not ill:
            return
        if time.monotonic() > end:
            break
        time.sleep(0.3)
    raise ProvisionError(
        f"{', '.join(ill)} {'is' if len(ill) == 1 else 'are'} not Ready before anything changes, for"
        f" {RETURN_SECONDS:.0f} s: whether the new endpoint works there could not be told",
        "mend that before (see `journalctl -u kubelet`), or leave it out with --limit",
    )


def _switched_at(runner: Runner, lost: list[UnreachableError]) -> float:
    """When its services began to restart, by the host's own clock; 0 without a switch."""
    text = (_tried(runner, f"cat {FOLDER}/switched 2>/dev/null || :", 30, lost) or b"").decode(
        errors="replace"
    )
    try:
        return float(text)
    except ValueError:
        return 0.0


def _tried(runner: Runner, script: str, deadline: float, lost: list[UnreachableError]) -> bytes | None:
    """What it printed; None when it failed, or when the host is `lost`, which is noted there."""
    try:
        result = runner.run(Script(script + "\n"), deadline=deadline)
    except UnreachableError as fault:
        lost.append(fault)
        return None
    return result.stdout if result.status == 0 else None


_READY = r'{range .items[*]}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'
_RENEWED = r'{range .items[*]}{.metadata.name}{"\t"}{.spec.renewTime}{"\n"}{end}'
_ALIVE = f"""
{KUBECTL} get nodes -o jsonpath={quote(_READY)}
echo '=='
{KUBECTL} -n kube-node-lease get leases -o jsonpath={quote(_RENEWED)}
"""


def _alive(plane: Runner) -> dict[str, float]:
    """When the kubelet of each node that is Ready renewed its lease, by that host's clock; nothing while the API server
    does not answer."""
    try:
        nodes, _, leases = ask(plane, _ALIVE).decode().partition("==\n")
    except UnreachableError:
        raise
    except ProvisionError:
        return {}
    ready = _ready(nodes)
    return {
        name: dt.datetime.fromisoformat(moment).timestamp()
        for name, _, moment in _rows(leases)
        if name in ready and moment
    }


def _ready(text: str) -> set[str]:
    return {name for name, _, status in _rows(text) if status == "True"}


def _rows(text: str) -> list[tuple[str, str, str]]:
    return [line.partition("\t") for line in text.splitlines()]
