"""Why a template fails, in the words of those who write it: YAML's and Ansible's, not Python's.

Imports jinja2 (55 ms): import this only when something is a template.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.debug import get_template_locals
from jinja2.parser import Parser

from provisioner.inventory.templateculprit import Search, TooLongError, written_in
from provisioner.inventory.templatesyntax import said_of_syntax

FILE = "<template>"
"""Jinja2's name of a template that comes from no file."""


class TemplateFaultError(Exception):
    """A template cannot be rendered. `line` and `column`, from 1, are places in its own text."""

    def __init__(self, reason: str, hint: str = "", line: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Source:
    """A template's `text`, or with `bare` an expression's, as in `when`; `file` is its name in tracebacks. Where the
    context of `environment` looks names up in a mapping of its own, `scope` is that one's key."""

    environment: jinja2.Environment
    text: str
    bare: bool = False
    file: str = FILE
    scope: str = ""

    def parsed(self) -> nodes.Node:
        """Raises jinja2.TemplateSyntaxError."""
        if self.bare:
            return Parser(self.environment, self.text, state="variable").parse_expression()
        return self.environment.parse(self.text)

    def column(self, line: int, *words: str) -> int:
        """Where in the line the first of the words that is there stands, or else the first piece of template."""
        written = next(iter(self.text.split("\n")[line - 1 :]), "")
        sought = [rf"(?<!\w){re.escape(word)}(?!\w)" for word in words if word]
        for pattern in (*sought, r"\{[{%#]"):
            if found := re.search(pattern, written):
                return found.start() + 1
        return 1


def explain(fault: BaseException, source: Source, names: Mapping[str, Any]) -> TemplateFaultError:
    """What is wrong in the template that raised `fault` with the variables `names`."""
    if isinstance(fault, TemplateFaultError):
        return fault
    if isinstance(fault, jinja2.TemplateSyntaxError):
        reason, hint, word = said_of_syntax(fault, source.environment, source.text if source.bare else "")
        return TemplateFaultError(reason, hint, fault.lineno, source.column(fault.lineno, word))
    line, local = _raised_at(fault, source.file)
    search = Search(
        source.environment,
        ChainMap(dict(local), cast(MutableMapping[str, Any], names)),
        fault,
        source.scope,
    )
    try:
        culprit = search.among(source.parsed(), line)
        reason, hint = search.said(culprit)
    except (RecursionError, SyntaxError, MemoryError, TooLongError):  # nobody writes such by hand
        culprit = None
        reason, hint = search.said(culprit)
    line = culprit.lineno if culprit is not None else line
    return TemplateFaultError(reason, hint, line, source.column(line, *written_in(culprit)))


def undecoded(fault: UnicodeDecodeError) -> TemplateFaultError:
    """For a template file that is not UTF-8."""
    good = fault.object[: fault.start].decode("utf-8", "replace")
    reason = f"the file is not UTF-8: byte 0x{fault.object[fault.start]:02x}"
    column = len(good) - (good.rfind("\n") + 1) + 1
    return TemplateFaultError(reason, "save it as UTF-8", good.count("\n") + 1, column)


def _raised_at(fault: BaseException, file: str) -> tuple[int, Mapping[str, Any]]:
    """The template's innermost line in the traceback, and what its own names were there (jinja2.debug)."""
    local: Mapping[str, Any] = {}
    line, trace = 1, fault.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            frame = trace.tb_frame
            rewritten = "__jinja_exception__" in frame.f_globals
            line = trace.tb_lineno if rewritten else line
            local = frame.f_locals if rewritten else get_template_locals(frame.f_locals)
        trace = trace.tb_next
    return line, local
