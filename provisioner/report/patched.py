"""Why publishers' manifests are changed as they are, for people or as one JSON value."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from provisioner.engine.patched import Patched
from provisioner.report.tables import coloured
from provisioner.report.wording import Line

_LONG = 90


def show_patched(patches: Sequence[Patched], *, as_json: bool) -> None:
    """Prints them on stdout."""
    if as_json:
        value = {"event": "Patches", "patches": [asdict(each) for each in patches]}
        sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
        return
    for manifest, of_it in groupby(patches, lambda each: each.manifest):
        sys.stdout.write(coloured(Line(manifest, "head")) + "\n")
        for line in patched_lines(list(of_it)):
            sys.stdout.write(coloured(line) + "\n")
    if not patches:
        sys.stdout.write("no manifest of a publisher is among them\n")


def patched_lines(patches: Sequence[Patched]) -> list[Line]:
    """Object by object: where, what was and what is there, and why."""
    lines = []
    for target in dict.fromkeys(each.target for each in patches):
        lines.append(Line(f"      {target}", "head"))
        for each in (each for each in patches if each.target == target):
            lines.append(Line(f"        {each.path}: {_change(each)}", "change"))
            lines.append(Line(f"          why: {each.why}"))
    return lines


def _change(patch: Patched) -> str:
    if patch.before == patch.after:
        return f"{_text(patch.after)} (as it was)"
    if patch.before is None:
        return f"+ {_text(patch.after)}"
    return (
        f"{_text(patch.before)} → {_text(patch.after)}"
        if patch.after is not None
        else f"- {_text(patch.before)}"
    )


def _text(value: Any) -> str:
    """On one line, its end left out where it is long."""
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(plain.split())
    return line if len(line) <= _LONG else line[: _LONG - 1] + "…"
