"""What `provision advise` says, as values: questions, reasons, figures, and the section to be pasted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = "unknown"
"""The answer of somebody who does not know."""


@dataclass(frozen=True)
class Question:
    """`name` is that of its option, without the hyphens; without `choices` the answer is free."""

    name: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """`origin` is given, asked, read (from hosts) or unknown."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Reason:
    """`source` says where that is from; `url` may be empty."""

    text: str
    source: str = ""
    url: str = ""


@dataclass(frozen=True)
class Alternative:
    """Another choice. `ruled_out` means that it cannot be; else it would do, and the reasons are those against it.
    `installable` is False for what this version does not install, or not with what a bundle has by itself."""

    name: str
    title: str
    ruled_out: bool
    reasons: tuple[Reason, ...]
    installable: bool = True


@dataclass(frozen=True)
class Better:
    """A plug-in that would fit better, is not proposed by this version, and what comes nearest to it."""

    name: str
    title: str
    reasons: tuple[Reason, ...]
    nearest: str


@dataclass(frozen=True)
class Measured:
    """Published figures: rows of plug-ins, as the run names them, by `columns`; `modes` says of which version and mode
    they are. `own` are the rows of the plug-in that is advised; there may be none."""

    title: str
    url: str
    date: str
    what: str
    hardware: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]
    modes: Mapping[str, str]
    own: tuple[str, ...] = ()
    lesson: str = ""


@dataclass(frozen=True)
class Requirements:
    """Of nodes and of the wire between them: modules and oldest version of the kernel (0.0: any), ports, IP protocols,
    and whether all have to be in one subnet."""

    modules: tuple[str, ...]
    kernel: str
    udp: tuple[int, ...]
    tcp: tuple[int, ...]
    protocols: tuple[str, ...]
    one_subnet: bool


@dataclass(frozen=True)
class Advice:
    """`section` is the whole `network` of a spec. `fill_in` are values in it that nobody has given, `remarks` what else
    is to be known."""

    name: str
    title: str
    plugin: str
    reasons_for: tuple[Reason, ...]
    reasons_against: tuple[Reason, ...]
    needs: Requirements
    alternatives: tuple[Alternative, ...]
    better: tuple[Better, ...]
    measured: tuple[Measured, ...]
    section: Mapping[str, Any]
    answers: Sequence[Answered] = ()
    fill_in: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
