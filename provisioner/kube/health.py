"""What the answers of a host say about the parts of the cluster on it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from provisioner.engine.health import Component, NodeHealth
from provisioner.kube.healthscript import Section
from provisioner.kube.requests import waiting

_ROLE = "node-role.kubernetes.io/"
_SILENT = Section(1, "was not asked")
_PROBES = {"controllers": "kube-controller-manager", "scheduler": "kube-scheduler"}

Answers = Mapping[str, Section]


def units(answers: Answers) -> tuple[tuple[str, str], ...]:
    """(name, state) of the services that were asked for; the state is "active" only for one that runs."""
    found = []
    for block in answers.get("units", _SILENT).text.split("\n\n"):
        words = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in words:
            state, sub = words.get("ActiveState", ""), words.get("SubState", "")
            told = state if state != "active" or sub == "running" else f"{state} ({sub})"
            found.append((words["Id"].removesuffix(".service"), told))
    return tuple(found)


def last_change(answers: Answers) -> tuple[str, str] | None:
    """(when, by which run) the host was changed last, as its own journal has it."""
    line = _json(answers.get("journal", _SILENT))
    return (
        (str(line["time"]), str(line["run"]))
        if isinstance(line, dict) and {"time", "run"} <= line.keys()
        else None
    )


def control_plane(host: str, answers: Answers) -> list[Component]:
    """The API server and the controllers of a control-plane host."""
    ready = answers.get("readyz", _SILENT)
    failed = re.findall(r"\[-\](\S+)", ready.text)  # on lines of their own, or quoted in kubectl's error
    detail = f"failed: {', '.join(failed)}" if failed else "" if ready.status == 0 else ready.last_line
    found = [Component("kube-apiserver", host, ready.status == 0, detail)]
    for question, name in _PROBES.items():
        answer = answers.get(question, _SILENT)
        found.append(
            Component(name, host, answer.status == 0, "" if answer.status == 0 else answer.last_line)
        )
    return found


def load_balancer(host: str, answers: Answers, vip: str = "") -> Component:
    """A load balancer, by what its clients would get; `vip` is the virtual address where it has that now."""
    well = answers.get("balancer", _SILENT).status == 0
    told = [*([] if well else ["no API server answers through it"]), *([f"has {vip}"] if vip else [])]
    return Component("api-load-balancer", host, well, ", ".join(told))


def etcd_member(host: str, answers: Answers) -> tuple[Component, str]:
    """An etcd member, and the version that it runs ("" when that is not known)."""
    health, status = answers.get("member", _SILENT), _json(answers.get("status", _SILENT))
    first = status[0]["Status"] if isinstance(status, list) and status else {}
    alarms = [str(each) for each in first.get("errors") or ()]
    if health.status != 0 or alarms:
        return Component("etcd", host, False, "; ".join(alarms) or _etcd_fault(health)), str(
            first.get("version", "")
        )
    leader = first.get("leader") == first.get("header", {}).get("member_id")
    told = f"{'leader' if leader else 'follower'}, {int(first.get('dbSize', 0)) / 1e6:.1f} MB"
    return Component("etcd", host, True, told), str(first.get("version", ""))


def server_version(answers: Answers) -> str:
    """The API server's version, without a leading v; "" when it did not say."""
    value = _json(answers.get("version", _SILENT))
    return str(value.get("gitVersion", "")).removeprefix("v") if isinstance(value, dict) else ""


def nodes(answers: Answers, now: dt.datetime) -> list[NodeHealth] | None:
    """The cluster's nodes by name; None when the API server did not say."""
    value = _json(answers.get("nodes", _SILENT))
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        return None
    return sorted((_node(item, now) for item in value["items"]), key=lambda node: node.name)


def requests(answers: Answers, names: Collection[str]) -> list[str]:
    """What is to be said of certificate requests that wait; `names` are the spec's nodes."""
    value = _json(answers.get("requests", _SILENT))
    items = value.get("items") if isinstance(value, dict) else None
    return waiting(items, names) if isinstance(items, list) else []


def runtime_version(answers: Answers) -> str:
    """Of the nodes' container runtimes, those that differ apart by commas."""
    value = _json(answers.get("nodes", _SILENT))
    items = value.get("items", ()) if isinstance(value, dict) else ()
    found = {str(item["status"]["nodeInfo"]["containerRuntimeVersion"]) for item in items}
    return ", ".join(sorted(each.replace("://", " ") for each in found))


def _node(item: Mapping[str, Any], now: dt.datetime) -> NodeHealth:
    metadata, status = item["metadata"], item["status"]
    condition: Mapping[str, Any] = next(
        (each for each in status.get("conditions", ()) if each["type"] == "Ready"), {}
    )
    ready = condition.get("status") == "True"
    labels = metadata.get("labels", {})
    created = dt.datetime.fromisoformat(metadata["creationTimestamp"])
    return NodeHealth(
        name=metadata["name"],
        ready=ready,
        roles=tuple(sorted(label.removeprefix(_ROLE) for label in labels if label.startswith(_ROLE))),
        version=str(status.get("nodeInfo", {}).get("kubeletVersion", "")).removeprefix("v"),
        age=(now - created).total_seconds(),
        schedulable=not item.get("spec", {}).get("unschedulable", False),
        detail="" if ready else str(condition.get("message", "its kubelet has said nothing yet")),
    )


def _etcd_fault(health: Section) -> str:
    """`endpoint health` gives its reason as JSON on one stream or the other."""
    for line in health.text.splitlines():
        value = _json(Section(0, line))
        if isinstance(value, list) and value and value[0].get("error"):
            return str(value[0]["error"])
    return health.last_line


def _json(section: Section) -> Any:
    if section.status != 0:
        return None
    try:
        return json.loads(section.text)
    except ValueError:
        return None
