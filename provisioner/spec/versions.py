"""Versions and what this tool installs: Kubernetes releases, plug-ins, back ends, runtimes."""

from __future__ import annotations

import operator
import re
from types import MappingProxyType

import provisioner
from provisioner.inventory.words import hint_for
from provisioner.spec.values import RefusedError

OLDEST_MINOR = 31
PLUGINS = ("flannel",)
PLUGINS_TO_COME = ("calico", "cilium")
BACKENDS = ("vxlan", "host-gw")
BACKENDS_TO_COME = ("wireguard", "ipip", "udp", "ipsec", "alloc", "extension", "tencent-vpc")
PROXY_MODES = ("iptables", "nftables", "ipvs")
RUNTIMES = ("containerd",)
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


def kubernetes(text: str) -> None:
    """An exact Kubernetes release that this tool installs."""
    match = re.fullmatch(r"(v?)([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?", text)
    if match is None:
        raise RefusedError(f"'{text[:40]}' is not a Kubernetes version", "such as 1.33.13")
    major, minor, patch = int(match[2]), int(match[3]), match[4]
    if patch is None:
        raise RefusedError(
            f"'{text}' names no exact version", f"add the patch release, such as {major}.{minor}.0"
        )
    if match[1]:
        raise RefusedError(f"'{text}' begins with a v", f"did you mean '{text[1:]}'?")
    if major != 1:
        raise RefusedError(f"there is no Kubernetes {text}", "such as 1.33.13")
    if minor < OLDEST_MINOR:
        reason = f"Kubernetes {text} is not installed: releases before 1.{OLDEST_MINOR} are out of support"
        raise RefusedError(reason, f"1.{OLDEST_MINOR} or newer")


def plugin(text: str) -> None:
    if text in PLUGINS_TO_COME:
        raise RefusedError(f"the plug-in '{text}' is not yet installable by this version", "use flannel")
    if text not in PLUGINS:
        raise RefusedError(f"there is no plug-in '{text[:40]}'", hint_for(text, PLUGINS + PLUGINS_TO_COME))


def backend(text: str) -> None:
    if text in BACKENDS_TO_COME:
        raise RefusedError(
            f"flannel's back end '{text}' is not yet supported by this version", "use vxlan or host-gw"
        )
    if text not in BACKENDS:
        raise RefusedError(
            f"flannel has no back end '{text[:40]}'", hint_for(text, BACKENDS + BACKENDS_TO_COME)
        )


def runtime(text: str) -> None:
    if text in _DOCKER:
        reason = f"'{text}' is not installed: Kubernetes has had no dockershim since 1.24"
        raise RefusedError(reason, "use containerd; it runs the same images")
    if text not in RUNTIMES:
        raise RefusedError(f"there is no runtime '{text[:40]}'", hint_for(text, RUNTIMES))


def requires(text: str) -> None:
    """What this tool's version must be, such as ">=0.1,<2"."""
    for clause in text.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*([0-9]{1,6}(?:\.[0-9]{1,6})*)\s*", clause)
        if match is None:
            raise RefusedError(f"'{clause[:40]}' is not a version requirement", "such as '>=0.1'")
        if not _COMPARE[match[1]](_numbers(provisioner.__version__), _numbers(match[2])):
            reason = f"this is provision {provisioner.__version__}, the inventory requires {text}"
            raise RefusedError(reason, "install a version that fits")


def _numbers(version: str) -> tuple[int, ...]:
    """Comparable: zeros at the end do not count (0.1 is 0.1.0)."""
    numbers = [int(part) for part in re.findall(r"[0-9]+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
