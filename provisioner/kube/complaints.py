"""What keeps the pods of the traffic check from running, as their states and events tell it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.errors import ProvisionError

Item = Mapping[str, Any]

_WAITS = {"ContainerCreating", "PodInitializing"}
"""What a container says that is on its way (pkg/kubelet/kubelet_pods.go)."""

_STEPS = {"Pulling", "Pulled", "Created", "Started"}
"""Reasons of events that tell that a pod got on (pkg/kubelet/events/event.go): sandbox and volumes are there, so what
failed before is over. "SandboxChanged", Normal as well, is not among them: it begins a further try, and where the CNI
plug-in is missing the last sandbox cannot be taken down, which no event tells. Nor is "Scheduled", which another
host's clock dates."""


STUCK = 18.0
"""Seconds after which a pod that fails all the time is given up: a kubelet tries again after 10 to 15 s (kubernetes,
pkg/kubelet/pod_workers.go: backOffPeriod and its jitter)."""
JOINED = 60.0
"""The same for one that gets no network on a cluster that a node has just joined: there the plug-in's own pod may have
to begin again, after 10 s and then 20 s (kubernetes, pkg/kubelet/kubelet.go: MaxCrashLoopBackOff)."""
_NO_NETWORK = "FailedCreatePodSandBox"


class Waiting:
    """For pods; it remembers since when each of them complains. `joined`: nodes have just joined."""

    def __init__(self, *, joined: bool = False) -> None:
        self._networkless = JOINED if joined else STUCK
        self._since: dict[str, float] = {}

    def is_vain(self, told: Mapping[str, str]) -> bool:
        """Whether one of those that complain now has done so all the time, for too long."""
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in told}
        return any(
            now - moment >= (self._networkless if told[name].startswith(_NO_NETWORK) else STUCK)
            for name, moment in self._since.items()
        )


def complaints(items: Sequence[Item]) -> dict[str, str]:
    """What keeps each object from running, by its name; a pod that is on its way complains of nothing.

    `items` are pods and events. A pod's warning is over once the pod got on, a DaemonSet's with any normal event.
    """
    events = _events(items)
    told: dict[str, str] = {}
    for item in items:
        if item["kind"] == "Pod" and not _runs(item):
            name = item["metadata"]["name"]
            if reason := _complaint(item, events.get(name, [])):
                told[name] = reason
    for name, those in events.items():
        if those[-1]["involvedObject"]["kind"] == "DaemonSet" and those[-1]["type"] == "Warning":
            told[name] = _words(those[-1])
    return told


def _events(items: Sequence[Item]) -> dict[str, list[Item]]:
    """By the name of what they are about, the last one last."""
    events: dict[str, list[Item]] = {}
    for event in sorted((each for each in items if each["kind"] == "Event"), key=_moment):
        events.setdefault(event["involvedObject"]["name"], []).append(event)
    return events


def _complaint(pod: Item, events: Sequence[Item]) -> str:
    status = pod.get("status", {})
    states = [
        each.get("state", {}).get("waiting") or {}
        for key in ("initContainerStatuses", "containerStatuses")
        for each in status.get(key, ())
    ]
    waits = [each for each in states if each.get("reason", "ContainerCreating") not in _WAITS]
    # "Error: ErrImagePull" repeats what another event has told with its reason.
    warnings = [each for each in events if each["type"] == "Warning"]
    telling = [each for each in warnings if not str(each.get("message", "")).startswith("Error: ")]
    if waits or _fails(events):
        if telling:
            return _words(telling[-1])
        return _words(waits[0] if waits else warnings[-1])
    return ""


def _fails(events: Sequence[Item]) -> bool:
    """Whether there was a warning since the pod got on."""
    for event in reversed(events):
        if event["type"] == "Warning":
            return True
        if event.get("reason") in _STEPS:
            return False
    return False


def _words(told: Item) -> str:
    return f"{told.get('reason', '')}: {told.get('message', '')}".strip(": \n")


def _on_its_way(events: Sequence[Item]) -> str:
    last = f"; the last that is known of it is {_words(events[-1])}" if events else ""
    return f"does not run yet{last}"


def _moment(event: Item) -> tuple[str, int]:
    """When it was seen last, and of several in one second which came last."""
    series = (event.get("series") or {}).get("lastObservedTime")
    seen = str(series or event.get("lastTimestamp") or event.get("eventTime") or "")
    version = str(event["metadata"].get("resourceVersion", "0"))
    return seen[:19], int(version) if version.isdigit() else 0


def _runs(pod: Item) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def stuck(items: Sequence[Item], told: Mapping[str, str], seconds: float, of: str) -> ProvisionError:
    """What to raise when the pods `of` something do not run after `seconds`: each with what is `told` of it, or its
    last event."""
    pods = {item["metadata"]["name"]: item for item in items if item["kind"] == "Pod" and not _runs(item)}
    events, lines = _events(items), []
    for name in sorted({*pods, *told}):
        node = pods.get(name, {}).get("spec", {}).get("nodeName", "")
        why = told.get(name) or _on_its_way(events.get(name, ()))
        lines.append(f"  {name}{f' on {node}' if node else ''}: {why[:600]}")
    hint = "see `journalctl -u kubelet -u containerd` on that node"
    if any("Pull" in each for each in told.values()):
        hint = "`provision apply INVENTORY --stage images` brings the bundle's images to the registry"
    return ProvisionError(f"the pods of {of} do not run after {seconds:.0f} s:\n" + "\n".join(lines), hint)
