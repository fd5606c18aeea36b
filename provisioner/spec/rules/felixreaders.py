"""Felix's settings that nobody reads, because what they are about is not there (Calico 3.28, felix/dataplane/linux and
felix/rules/static.go). vxlanPort is not one of them: wherever Felix is, pods may send nothing to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from provisioner.errors import Problem
from provisioner.spec.draft import Draft
from provisioner.spec.rules.calicoreach import encapsulations, policy_only
from provisioner.spec.rules.felix import setting_of

_WIREGUARD: Mapping[str, int] = MappingProxyType(
    {"wireguardListeningPort": 4, "wireguardListeningPortV6": 6, "wireguardHostEncryptionEnabled": 0}
)
"""Settings of WireGuard, and the IP family that each is for, 0 for any."""


def felix_s_settings_are_read(draft: Draft) -> Iterator[Problem]:
    if draft.get("network", "plugin") not in ("calico", "canal"):
        return
    if _without_vxlan(draft):
        yield from _unread(draft, "vxlanVNI", "no packets go through Calico's VXLAN")
    encrypted = draft.get("network", "calico", "wireguard", default=False)
    versions = {placed.network.version for placed in draft.networks("pod_cidrs")}
    for name, version in _WIREGUARD.items():
        if encrypted is False:
            yield from _unread(draft, name, "there is no WireGuard of Calico's")
        elif encrypted is True and version and versions and version not in versions:
            yield from _unread(draft, name, f"pods have no IPv{version}, and WireGuard has none then")


def _without_vxlan(draft: Draft) -> bool:
    """False also where that is not known."""
    if draft.get("network", "plugin") == "canal" or policy_only(draft):
        return True
    words = encapsulations(draft)
    return bool(words) and not any(word.startswith("VXLAN") for word in words)


def _unread(draft: Draft, name: str, why: str) -> Iterator[Problem]:
    path, _ = setting_of(draft, name)
    if path and path not in draft.bad:
        yield draft.problem(path, f"{path[-1]}: nobody reads it, {why}", "leave it out", key=True)
