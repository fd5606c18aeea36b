"""Versions and what this tool installs: Kubernetes releases, plug-ins, back ends, runtimes."""

from __future__ import annotations

import operator
import re
from types import MappingProxyType

import provisioner
from provisioner.inventory.spelling import said
from provisioner.inventory.words import hint_for, nearest
from provisioner.spec.values import RefusedError

OLDEST_MINOR = 31
CATALOGUED = "1.33.13"
"""The release in this version's catalogue of components, which `provision bundle build` makes. For hints only."""
PLUGINS = ("flannel", "calico", "canal", "cilium")
ENFORCING = ("calico", "canal", "cilium")
"""Plug-ins that enforce NetworkPolicies."""
BACKENDS = ("vxlan", "host-gw", "wireguard", "ipip", "udp")
_CLOUD = "it writes routes into one provider's API, with keys that every node would hold"
BACKENDS_REFUSED = MappingProxyType(
    {
        "ipsec": ("it needs a strongSwan daemon, and one key for all nodes in a ConfigMap", "use wireguard"),
        "alloc": ("it hands out subnets, and no packet gets from node to node", "use vxlan"),
        "extension": ("it runs commands as root that are made of what other nodes announce", "use vxlan"),
        "tencent-vpc": (_CLOUD, "use vxlan"),
        "ali-vpc": (_CLOUD, "use vxlan"),
        "aws-vpc": (_CLOUD, "use vxlan"),
        "gce": (_CLOUD, "use vxlan"),
    }
)
"""flannel's back ends that are not installed: why, and what is instead (flannel 0.28, Documentation/backends.md)."""
WIREGUARD_MODES = ("separate", "auto", "ipv4", "ipv6")
PROXY_MODES = ("iptables", "nftables", "ipvs")
IPVS_SCHEDULERS = ("rr", "wrr", "sh")
"""Those whose module is loaded: round robin, by weight, by source."""
RUNTIMES = ("containerd",)
REGISTRIES = ("distribution", "harbor")
FIREWALL = ("check", "manage", "ignore")
LOAD_BALANCING = ("group", "local")
KUBEADM = "kubeadm"
EXISTING = ("opt-kubernetes", KUBEADM)
"""Layouts of clusters that others have built, by which `cluster.existing` knows what lies where. What kubeadm has made
goes on to be kubeadm's: its pod network is migrated, and nothing else."""
_DOCKER = ("docker", "dockershim", "cri-dockerd")
_COMPARE = MappingProxyType(
    {
        ">=": operator.ge,
        "<=": operator.le,
        "==": operator.eq,
        "!=": operator.ne,
        ">": operator.gt,
        "<": operator.lt,
    }
)


def existing(text: object) -> None:
    """The preset of a cluster that is there; anything but a text is the schema's business."""
    if isinstance(text, str) and text not in EXISTING:
        raise RefusedError(f"there is no preset {said(text)}", hint_for(text, EXISTING))


def kubernetes(text: str) -> None:
    """An exact Kubernetes release that this tool installs."""
    match = re.fullmatch(r"([vV]?)([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?", text)
    if match is None:
        raise RefusedError(f"{said(text)} is not a Kubernetes version", f"such as {CATALOGUED}")
    major, minor, patch = int(match[2]), int(match[3]), match[4]
    if major != 1:
        raise RefusedError(f"there is no Kubernetes {text}", f"such as {CATALOGUED}")
    if minor < OLDEST_MINOR:
        reason = f"Kubernetes {text} is not installed: releases before 1.{OLDEST_MINOR} are out of support"
        raise RefusedError(reason, f"1.{OLDEST_MINOR} or newer, such as {CATALOGUED}")
    if patch is None:
        near = CATALOGUED.startswith(f"{major}.{minor}.")
        hint = f"did you mean '{CATALOGUED}'?" if near else f"add the patch release, as in {CATALOGUED}"
        raise RefusedError(f"'{text}' names no exact version", hint)
    exact = f"{major}.{minor}.{int(patch)}"
    if text != exact:
        slip = "begins with a v" if match[1] else "has a leading zero"
        raise RefusedError(f"'{text}' {slip}", f"did you mean '{exact}'?")


def plugin(text: str) -> None:
    if text not in PLUGINS:
        raise RefusedError(f"there is no plug-in {said(text)}", hint_for(text, PLUGINS))


def backend(text: str) -> None:
    if text in BACKENDS:
        return
    known = nearest(text, (*BACKENDS, *BACKENDS_REFUSED))
    if known is not None and known in BACKENDS_REFUSED:
        why, instead = BACKENDS_REFUSED[known]
        raise RefusedError(f"flannel's back end '{known}' is not installed: {why}", instead)
    raise RefusedError(f"flannel has no back end {said(text)}", hint_for(text, BACKENDS))


def runtime(text: str) -> None:
    if text in _DOCKER:
        reason = f"'{text}' is not installed: Kubernetes has had no dockershim since 1.24"
        raise RefusedError(reason, "use containerd; it runs the same images")
    if text not in RUNTIMES:
        raise RefusedError(f"there is no runtime {said(text)}", hint_for(text, RUNTIMES))


def requires(text: str) -> None:
    """What this tool's version must be, such as ">=0.1,<2"."""
    for clause in text.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*([0-9]{1,6}(?:\.[0-9]{1,6})*)\s*", clause)
        if match is None:
            raise RefusedError(f"{said(clause)} is not a version requirement", "such as '>=0.1'")
        if not _COMPARE[match[1]](_numbers(provisioner.__version__), _numbers(match[2])):
            reason = f"this is provision {provisioner.__version__}, the inventory requires {text[:60]}"
            raise RefusedError(reason, "install a version that fits")


def _numbers(version: str) -> tuple[int, ...]:
    """Comparable: zeros at the end do not count (0.1 is 0.1.0)."""
    numbers = [int(part) for part in re.findall(r"[0-9]+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
