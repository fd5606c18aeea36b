"""What the YAML parser's errors mean, and where the slip is that they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from provisioner.errors import Problem

MAX_DEPTH = 64
"""Levels of nesting that a file may have."""
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_NAMED = ("while scanning an alias", "while scanning an anchor")
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")


@dataclass
class Clues:
    """Where what a parser's error is about may have begun.

    `brackets` are the marks of those that are open. `long_quote` is the event of the last quoted text that goes over
    several lines, None before there is one: where a quote was forgotten, most likely.
    """

    brackets: list[Any] = field(default_factory=list)
    long_quote: Any = None

    def see(self, scalar: Any) -> None:
        if scalar.style in ("'", '"') and scalar.end_mark.line > scalar.start_mark.line:
            self.long_quote = scalar


def syntax_problem(error: yaml.MarkedYAMLError, clues: Clues, text: str, file: str) -> Problem:
    """The parser's error at the place that mends it: it complains where it gave up, often lines after the slip."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(file, 0, 0, f"not YAML: {error.problem}")
    if "nesting depth" in str(error.problem):  # the parser's own limit, which it may reach before ours is
        return _at(file, mark, TOO_DEEP, "")
    if error.context_mark is not None and (
        "expected ':'" in str(error.problem) or str(error.context).startswith(_NAMED)
    ):
        mark = error.context_mark
    context, lines = error.context or "", text.split("\n")
    if "unknown escape" in str(error.problem) and _letter(lines, mark) != "\\":
        # PyYAML's two parsers disagree by one.
        mark = yaml.Mark(mark.name, mark.index, mark.line, mark.column - 1, None, 0)
    if context.startswith("while scanning a quoted scalar") and mark.line >= text.count("\n"):
        start: Any = error.context_mark
        quote = _letter(lines, start)
        return _at(file, start, f"the quote opened here ({quote}) is not closed", f"add the {quote}")
    if context.startswith("while parsing a flow") and clues.brackets:
        return _in_brackets(clues.brackets, mark, lines, file)
    quoted = clues.long_quote
    if quoted is not None and quoted.end_mark.line == mark.line:
        # A quote that is not closed swallows lines up to the next one; what follows that makes no sense.
        reason = f"the quote opened here ({quoted.style}) is closed only in line {mark.line + 1}"
        return _at(file, quoted.start_mark, reason, f"add the {quoted.style} where the text ends")
    return _at(file, mark, *_words(error, lines, mark))


def _in_brackets(brackets: list[Any], mark: Any, lines: list[str], file: str) -> Problem:
    # A pair in a list, [a: b], counts as a mapping, but has no bracket of its own.
    start = next((each for each in reversed(brackets) if _letter(lines, each) in tuple("[{")), brackets[0])
    opener = _letter(lines, start)
    closer = "}" if opener == "{" else "]"
    if mark.line == start.line and closer in lines[mark.line][mark.column :]:
        reason = f"not YAML: this does not fit into the '{opener}' of column {start.column + 1}"
        return _at(file, mark, reason, "put a ',' between two values, and quotes around a text with ': '")
    seen = f"; line {mark.line + 1} does not fit into it" if start.line < mark.line < len(lines) - 1 else ""
    return _at(file, start, f"the '{opener}' opened here is not closed{seen}", f"add the '{closer}'")


def _words(error: yaml.MarkedYAMLError, lines: list[str], mark: Any) -> tuple[str, str]:
    """Reason and hint."""
    if lines[min(mark.line, len(lines) - 1)].startswith(_CONFLICT):
        return "not YAML: this is a mark of a merge conflict", "settle the conflict and delete its marks"
    if _letter(lines, mark) == "\t":
        return "a tab indents this line; YAML allows only spaces", "replace the tab by spaces"
    bare = f"not YAML: {error.problem} {error.context or ''}".rstrip()
    return _of_the_problem(error, lines, mark) or _of_the_context(error, lines, mark) or (bare, "")


def _of_the_problem(error: yaml.MarkedYAMLError, lines: list[str], mark: Any) -> tuple[str, str] | None:
    """By what the parser found."""
    letter, problem = _letter(lines, mark), str(error.problem)
    if "mapping values" in problem:
        return (
            "not YAML: this ':' makes a key where none can be",
            "quote a value that contains ': ', and align the keys of a mapping",
        )
    if "expected ':'" in problem:
        return "not YAML: no ':' follows this key", "write 'name: value', or '- ' before an item of a list"
    if letter in tuple("]}"):
        return f"not YAML: this '{letter}' closes nothing", "delete it"
    if str(error.context).startswith(_NAMED):
        return f"not YAML: no name follows this '{letter}'", "quote a value that begins with '*' or '&'"
    if "cannot start any token" in problem and letter:
        return f"not YAML: a value cannot begin with '{letter}'", "quote it"
    if "unknown escape" in problem:
        escape = lines[mark.line][mark.column : mark.column + 2]
        return (
            f"not YAML: there is no escape '{escape}'",
            "in \"quotes\" write \\\\ for a backslash, or use 'quotes'",
        )
    return None


def _of_the_context(error: yaml.MarkedYAMLError, lines: list[str], mark: Any) -> tuple[str, str] | None:
    """By what the parser was about to read."""
    context = error.context or ""
    if not context.startswith("while parsing a block") or not error.context_mark:
        return None
    before = lines[mark.line][: mark.column].rstrip(" ")[-1:] if mark.line < len(lines) else ""
    if before in ("'", '"'):
        return (
            "not YAML: text follows a closing quote",
            f"write a {before} in such a text twice, or leave it out",
        )
    what, how = ("mapping", "its keys") if "mapping" in context else ("list", "its '- '")
    if _letter(lines, mark) == "-":
        how = "the '-' of a list's items"
    begin = error.context_mark.line + 1
    return f"not YAML: this does not belong to the {what} that begins in line {begin}", f"align {how}"


def _letter(lines: list[str], mark: Any) -> str:
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""


def _at(file: str, mark: Any, reason: str, hint: str) -> Problem:
    return Problem(file, mark.line + 1, mark.column + 1, reason, hint)
