"""What the spec says of tuning, as a value that has been checked, and what is known of it (tuning.yaml)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from provisioner.inventory.spelling import said
from provisioner.inventory.words import hint_for
from provisioner.spec.kernelnames import (
    check_feature,
    check_parts,
    check_setting,
    dotted,
    meant_by,
    without_prefix,
)
from provisioner.spec.values import RefusedError

CHANNELS = ("combined", "rx", "tx")
RINGS = ("rx", "rx-mini", "rx-jumbo", "tx")
"""Words of ethtool(8)."""
CHECKSUM = ("auto", "disabled")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SETTING = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_@/-]+)+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Link:
    """How links of hosts are set, by ethtool: those called `name`, or all whose driver is `driver`. `channels` and
    `rings` by their words, `offloads` by the names of features that ethtool --show-features lists."""

    name: str | None = None
    driver: str | None = None
    channels: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    rings: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    offloads: Mapping[str, bool] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class Tuning:
    """What nodes are given beyond what a cluster needs: kernel settings of `profiles`, and `sysctls` on top of them;
    the size of the table of connections; `links`. `vxlan_checksum_offload` of the tunnel's device: "auto" is off where
    kernel or driver compute it wrong, "disabled" everywhere, "" as it is."""

    profiles: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    conntrack_max: int | None = None
    links: tuple[Link, ...] = ()
    vxlan_checksum_offload: str = ""

    @property
    def settings(self) -> Mapping[str, str]:
        """Kernel settings by name: those of later profiles, and the spec's own, win."""
        found: dict[str, str] = {}
        for name in self.profiles:
            found |= {key: str(value) for key, value in known()["profiles"][name]["sysctls"].items()}
        return {**found, **self.sysctls}

    @property
    def asked(self) -> bool:
        """Something of it needs to be known of hosts."""
        return bool(self.settings or self.links or self.vxlan_checksum_offload)

    @property
    def connections(self) -> int | None:
        """How many the table of connections holds; None leaves it to kube-proxy."""
        if self.conntrack_max is not None:
            return self.conntrack_max
        sizes = [known()["profiles"][name].get("conntrack_max") for name in self.profiles]
        return max((size for size in sizes if size is not None), default=None)


@cache
def known() -> Mapping[str, Any]:
    """The file of figures."""
    import yaml

    found: Mapping[str, Any] = yaml.safe_load(
        Path(__file__).with_name("tuning.yaml").read_text(encoding="utf-8")
    )
    return found


def build_tuning(written: Mapping[str, Any]) -> Tuning:
    """Of a section without faults."""
    given = dict(written)
    links = tuple(_link(each) for each in given.pop("links", ()))
    sysctls = {dotted(key): " ".join(str(value).split()) for key, value in given.pop("sysctls", {}).items()}
    return Tuning(
        profiles=tuple(dict.fromkeys(given.pop("profiles", ()))),
        sysctls=MappingProxyType(sysctls),
        links=links,
        **given,
    )


def _link(written: Mapping[str, Any]) -> Link:
    groups = ("channels", "rings", "offloads")
    given: dict[str, Any] = dict(written)
    return Link(**given | {key: MappingProxyType(dict(given[key])) for key in groups if key in given})


def profile(text: str) -> None:
    if text not in known()["profiles"]:
        raise RefusedError(f"there is no profile {said(text)}", hint_for(text, known()["profiles"]))


def setting(text: str) -> None:
    """A kernel setting's name, with dots or with slashes, which is not nearly one that is known."""
    name = dotted(text)
    if not _SETTING.fullmatch(name):
        bare = without_prefix(text)
        meant = bare if bare != text and _SETTING.fullmatch(bare) else meant_by(text)
        hint = f"did you mean '{meant}'?" if meant else "as net.core.somaxconn"
        raise RefusedError(f"{said(text)} is no kernel setting", hint)
    check_parts(name)
    if name.startswith("net.netfilter.nf_conntrack_max") or name == "net.nf_conntrack_max":
        raise RefusedError(f"{said(text)} is set by kube-proxy at each start", "use tuning.conntrack_max")
    check_setting(name)


def setting_value(value: str | int) -> None:
    if isinstance(value, bool) or (isinstance(value, str) and (not value.strip() or "\n" in value.strip())):
        raise RefusedError(f"{said(value)} is no value of a kernel setting", "one line, such as 4096")


def driver(text: str) -> None:
    _plain(text, "driver of a network link", "as `ethtool -i LINK` names it")


def feature(text: str) -> None:
    _plain(
        text, "feature of a network link", "as `ethtool -k LINK` lists it, such as generic-receive-offload"
    )
    check_feature(text)


def _plain(text: str, what: str, hint: str) -> None:
    if not _PLAIN.fullmatch(text):
        raise RefusedError(f"{said(text)} is no {what}", hint)
