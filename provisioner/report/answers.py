"""Answers of hosts to `provision exec`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from provisioner.engine.events import Answer
from provisioner.report.printable import printable


def show_answer(answer: Answer, as_json: bool) -> None:
    """One host's answer."""
    if as_json:
        sys.stdout.write(json.dumps(asdict(answer), separators=(",", ":")) + "\n")
        return
    head = answer.error or (f"exit status {answer.status}" if answer.status else "")
    sys.stdout.write(printable(f"{answer.host}:{' ' + head if head else ''}") + "\n")
    for text in (answer.stdout, answer.stderr):
        for line in text.splitlines():
            sys.stdout.write(f"  {printable(line)}\n")
