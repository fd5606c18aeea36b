"""Advice on the pod network, as text or as one JSON value."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from provisioner.engine.advice import UNKNOWN, Advice, Alternative, Measured, Reason
from provisioner.report.tables import coloured, table
from provisioner.report.wording import Line

_WIDTH = 110
_INDENT = 6
"""As deep as `network` stands in an inventory below all, vars and cluster."""


def show_advice(advice: Advice, *, as_json: bool) -> None:
    """Prints it."""
    if as_json:
        sys.stdout.write(json.dumps(advice_value(advice), separators=(",", ":")) + "\n")
        return
    for line in advice_lines(advice):
        sys.stdout.write(coloured(line) + "\n")


def advice_value(advice: Advice) -> dict[str, Any]:
    """Plain data; `yaml` is the section as text, at the left margin."""
    value = {"event": "Advice", **asdict(advice)}
    return {**value, "section": {"network": value["section"]}, "yaml": section_text(advice)}


def section_text(advice: Advice) -> str:
    """YAML of `network: …`."""
    return yaml.safe_dump(
        _plain({"network": advice.section}), sort_keys=False, default_flow_style=None, width=100
    )


def advice_lines(advice: Advice) -> list[Line]:
    """What is advised, why, what else there is, figures, and the section."""
    return [
        Line(f"advice: {advice.title}", "good"),
        *_reasons("+", advice.reasons_for, ""),
        *_reasons("-", advice.reasons_against, "warn"),
        *_needs(advice),
        *_better(advice),
        *_others("it would also do", [each for each in advice.alternatives if not each.ruled_out]),
        *_others("ruled out", [each for each in advice.alternatives if each.ruled_out and each.installable]),
        *_others(
            "not proposed by this version", [each for each in advice.alternatives if not each.installable]
        ),
        *(line for run in advice.measured for line in _figures(run)),
        *_answers(advice),
        *(line for each in advice.remarks for line in _wrapped(f"! {each}", 2, "warn")),
        Line(""),
        Line("below all.vars.cluster of the inventory:", "head"),
        *_section(advice),
        *(line for each in advice.fill_in for line in _wrapped(f"! fill in: {each}", 2, "bad")),
    ]


def _section(advice: Advice) -> Iterator[Line]:
    for line in section_text(advice).splitlines():
        yield Line(" " * _INDENT + line)


def _reasons(sign: str, reasons: Sequence[Reason], style: str) -> Iterator[Line]:
    for each in reasons:
        yield from _wrapped(f"{sign} {_said(each)}", 2, style)


def _said(reason: Reason) -> str:
    return f"{reason.text} ({reason.source})" if reason.source else reason.text


def _needs(advice: Advice) -> Iterator[Line]:
    needs = advice.needs
    parts = [
        *([f"Linux {needs.kernel}"] if needs.kernel != "0.0" else []),
        *([f"modules {', '.join(needs.modules)}"] if needs.modules else []),
        *(f"UDP {port}" for port in needs.udp),
        *(f"TCP {port}" for port in needs.tcp),
        *(f"IP protocol {name}" for name in needs.protocols),
        *(["all nodes in one subnet"] if needs.one_subnet else []),
    ]
    yield from _wrapped(f"of nodes it needs: {', '.join(parts) or 'nothing in particular'}", 2, "dim")


def _better(advice: Advice) -> Iterator[Line]:
    for each in advice.better:
        yield Line("")
        yield Line(f"{each.title} would fit better", "bad")
        yield from _reasons("-", each.reasons, "")
        yield from _wrapped(f"- what comes nearest to it and is installed: {each.nearest}", 2, "")


def _others(head: str, others: Sequence[Alternative]) -> Iterator[Line]:
    if not others:
        return
    yield Line("")
    yield Line(head, "head")
    alike: dict[str, list[str]] = {}
    for each in others:
        alike.setdefault("; ".join(reason.text for reason in each.reasons), []).append(each.title)
    for reasons, titles in alike.items():
        yield from _wrapped(f"{'; '.join(titles)}: {reasons}", 2, "")


def _figures(run: Measured) -> Iterator[Line]:
    yield Line("")
    yield Line(f"measured {run.date}: {run.title}", "head")
    yield from _wrapped(f"{run.what}: {run.hardware}; {run.url}", 2, "dim")
    rows = [
        ("", "of", *run.columns),
        *((name, run.modes.get(name, ""), *map(str, figures)) for name, figures in run.rows.items()),
    ]
    numbers = range(2, len(run.columns) + 2)
    styles = ["dim", *("good" if name in run.own else "" for name in run.rows)]
    for text, style in zip(table(rows, right=numbers), styles, strict=True):
        yield Line(f"  {text}", style)
    if run.lesson:
        yield Line(f"  {run.lesson}")


def _answers(advice: Advice) -> Iterator[Line]:
    if not advice.answers:
        return
    yield Line("")
    yield Line("taken for known", "head")
    known = [f"{each.name} {each.value} ({each.origin})" for each in advice.answers if each.value != UNKNOWN]
    missing = [each.name for each in advice.answers if each.value == UNKNOWN]
    yield from _wrapped(", ".join(known) or "nothing", 2, "")
    if missing:
        yield from _wrapped(f"not known: {', '.join(missing)}", 2, "warn")


def _wrapped(text: str, indent: int, style: str) -> Iterator[Line]:
    first, rest = " " * indent, " " * (indent + 2)
    for line in textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False
    ):
        yield Line(line, style)


def _plain(value: Any) -> Any:
    """As YAML has it: mappings and lists alone."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
