"""The table that advice is judged by: the data beside this file, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from provisioner.engine.advice import Question, Reason

When = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """`points` for or against choices that have one of the traits `about`; `out`: they cannot be."""

    about: frozenset[str]
    when: When
    reason: Reason
    points: int = 0
    out: bool = False


@dataclass(frozen=True)
class Choice:
    """A plug-in in one of its modes. `section` is what its own section of `network` says; `measured` names a row of the
    measurements, "" where none is of it."""

    name: str
    title: str
    plugin: str
    traits: frozenset[str]
    section: Mapping[str, Any]
    measured: str = ""
    fill_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Elsewhere:
    """A plug-in that is not installed. It would fit better where `fits` holds; `against` it speaks what holds of
    these."""

    name: str
    title: str
    why: Reason
    fits: tuple[When, Reason] | None = None
    against: tuple[tuple[When, Reason], ...] = ()


@dataclass(frozen=True)
class Run:
    """One published measurement. `modes`: what a row is of, version and mode. Rows are shown `always`, others where
    traffic is to be `encrypted`."""

    title: str
    url: str
    date: str
    what: str
    hardware: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]
    modes: Mapping[str, str]
    always: tuple[str, ...]
    encrypted: tuple[str, ...]
    lesson: str


@dataclass(frozen=True)
class Contradiction:
    """Answers that cannot both be so."""

    when: When
    reason: str
    hint: str


@dataclass(frozen=True)
class Table:
    questions: tuple[Question, ...]
    choices: tuple[Choice, ...]
    rules: tuple[Rule, ...]
    elsewhere: tuple[Elsewhere, ...]
    runs: tuple[Run, ...]
    contradictions: tuple[Contradiction, ...] = field(default=())


@cache
def advice_table() -> Table:
    """What ships with this version."""
    text = resources.files("provisioner.network").joinpath("advice.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    sources = data["sources"]

    def reason(written: Mapping[str, Any], key: str = "reason") -> Reason:
        source = sources[written["source"]] if "source" in written else {"title": "", "url": ""}
        return Reason(written[key], source["title"], source["url"])

    return Table(
        questions=tuple(
            Question(name, each["text"], tuple(each.get("choices", ())))
            for name, each in data["questions"].items()
        ),
        choices=tuple(_choice(name, each) for name, each in data["choices"].items()),
        rules=tuple(
            Rule(frozenset(each["about"]), each["when"], reason(each), each.get("points", 0), "out" in each)
            for each in data["rules"]
        ),
        elsewhere=tuple(
            Elsewhere(
                name,
                each["title"],
                reason(each, "why"),
                (each["fits"]["when"], reason(each["fits"])) if "fits" in each else None,
                tuple((one["when"], reason(one)) for one in each.get("against", ())),
            )
            for name, each in data["elsewhere"].items()
        ),
        runs=tuple(_run(each) for each in data["measurements"]),
        contradictions=tuple(Contradiction(**each) for each in data["contradictions"]),
    )


def _choice(name: str, written: Mapping[str, Any]) -> Choice:
    return Choice(
        name,
        written["title"],
        written["plugin"],
        frozenset((name, written["plugin"], *written["traits"])),
        MappingProxyType(written["section"]),
        written.get("measured", ""),
        tuple(written.get("fill_in", ())),
    )


def _run(written: Mapping[str, Any]) -> Run:
    rows = {name: tuple(figures) for name, figures in written["rows"].items()}
    return Run(
        title=written["title"],
        url=written["url"],
        date=written["date"],
        what=written["what"],
        hardware=written["hardware"],
        columns=tuple(written["columns"]),
        rows=MappingProxyType(rows),
        modes=MappingProxyType(written["modes"]),
        always=tuple(written["always"]),
        encrypted=tuple(written["encrypted"]),
        lesson=written.get("lesson", ""),
    )
