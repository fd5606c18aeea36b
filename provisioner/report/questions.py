"""Questions of `provision advise` on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from provisioner.engine.advice import UNKNOWN, Question
from provisioner.report.printable import printable

Fault = Callable[[Question, str], tuple[str, str] | None]


def asker(fault_of: Fault) -> Callable[[Question], str] | None:
    """Asks for an answer until `fault_of` finds none in it; None where nobody sits at a terminal."""
    if not sys.stdin.isatty():
        return None

    def ask(question: Question) -> str:
        def checked(text: str) -> str:
            fault = fault_of(question, text)
            if fault:
                raise click.BadParameter(" ".join(f"{fault[0]} ({fault[1]})".splitlines()))
            return text

        choices = f" [{'/'.join((*question.choices, UNKNOWN))}]" if question.choices else ""
        answer: str = click.prompt(
            printable(question.text + choices), default=UNKNOWN, value_proc=checked, err=True
        )
        return answer

    return ask
