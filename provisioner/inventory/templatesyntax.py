"""What Jinja2 says of a template that it cannot read, in words that need no knowledge of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import jinja2

from provisioner.inventory.words import nearest

_TOKENS = {
    "end of print statement": "'}}'",
    "end of statement block": "'%}'",
    "begin of print statement": "'{{'",
    "begin of statement block": "'{%'",
    "end of template": "the end",
    "name": "a name",
    "integer": "a number",
    "float": "a number",
    "string": "a text",
}
"""Jinja2's names of signs (lexer.py, _describe_token_type)."""
_MEANT = {
    "=": "to compare, write ==",
    "&": "write 'and'",
    "!": "write 'not'",
    "|": "for one or the other write 'or'",
}
_STATEMENTS = (
    "if",
    "elif",
    "else",
    "endif",
    "for",
    "endfor",
    "set",
    "endset",
    "macro",
    "endmacro",
    "filter",
    "endfilter",
)


def said_of_syntax(
    fault: jinja2.TemplateSyntaxError, environment: jinja2.Environment, bare: str = ""
) -> tuple[str, str, str]:
    """Reason, hint and the word that is meant, if one is. `bare`: the text, where it is only an expression."""
    if "{{" in bare or "{%" in bare:
        return "a condition is an expression as it stands", "write it without {{ }} and {% %}", ""
    return said_by_jinja(fault.message or "it cannot be read", environment)


def said_by_jinja(message: str, environment: jinja2.Environment) -> tuple[str, str, str]:
    """As `said_of_syntax`, of any of its messages."""
    for pattern, tell in _SAID:
        found = re.search(pattern, message)
        if found:
            return tell(environment, found)
    return message.rstrip("."), "", ""


def _sign(token: str) -> str:
    return _TOKENS.get(token, f"'{token}'")


Told = tuple[str, str, str]


def _expected(_: object, found: re.Match[str]) -> Told:
    reason = f"{_sign(found['got'])} stands where {_sign(found['wanted'])} is expected"
    return reason, _MEANT.get(found["got"], ""), found["got"]


def _misplaced(_: object, found: re.Match[str]) -> Told:
    return f"{_sign(found['got'])} stands where a value is expected", "", found["got"]


def _short(_: object, found: re.Match[str]) -> Told:
    wanted = found["wanted"]
    opening = {"end of print statement": "'{{'", "end of statement block": "'{%'"}.get(wanted)
    return (
        f"{opening} is not closed by {_sign(wanted)}"
        if opening
        else f"it ends where {_sign(wanted)} is expected",
        "",
        "",
    )


def _empty(_: object, __: re.Match[str]) -> Told:
    return "it ends where a value is expected", "", ""


def _open(_: object, found: re.Match[str]) -> Told:
    return f"{{% {found['open']} %}} is not closed by {{% end{found['open']} %}}", "", found["open"]


def _crossed(_: object, found: re.Match[str]) -> Told:
    reason = f"{{% {found['tag']} %}} stands where {{% {found['open']} %}} is still open"
    return reason, f"close that first with {{% end{found['open']} %}}", found["tag"]


def _no_statement(_: object, found: re.Match[str]) -> Told:
    if found["tag"].startswith("end") or found["tag"] in {"elif", "else"}:
        return f"{{% {found['tag']} %}} closes nothing that is open", "", found["tag"]
    near = nearest(found["tag"], _STATEMENTS)
    return f"there is no statement '{found['tag']}'", f"did you mean '{near}'?" if near else "", found["tag"]


def _no_such(environment: jinja2.Environment, found: re.Match[str]) -> Told:
    known = environment.filters if found["what"] == "filter" else environment.tests
    near = nearest(found["name"], known)
    reason = f"there is no {found['what']} '{found['name']}'"
    return reason, f"did you mean '{near}'?" if near else "", found["name"]


def _character(_: object, found: re.Match[str]) -> Told:
    sign = found["sign"]
    if sign in {"'", '"'}:
        return f"a text that begins with {sign} does not end", "", ""
    return f"the character {sign} means nothing here", _MEANT.get(sign, ""), ""


_SAID: tuple[tuple[str, Callable[[jinja2.Environment, re.Match[str]], Told]], ...] = (
    (r"^No (?P<what>filter|test) named '(?P<name>[^']*)'", _no_such),
    (r"^expected token '(?P<wanted>.+)', got '(?P<got>.+)'", _expected),
    (r"^Expected an expression, got '(?P<got>.+)'", _misplaced),
    (r"^unexpected end of template, expected '(?P<wanted>.+)'", _short),
    (r"^unexpected '(?P<got>.+)', expected '(?P<wanted>.+)'", _expected),
    (r"^unexpected 'end of template'", _empty),
    (r"^unexpected '(?P<got>.+)'", _misplaced),
    (r"^Unexpected end of template\..*needs to be closed is '(?P<open>\w+)'", _open),
    (r"^Encountered unknown tag '(?P<tag>\w+)'\..*needs to be closed is '(?P<open>\w+)'", _crossed),
    (r"^Encountered unknown tag '(?P<tag>\w+)'", _no_statement),
    (r"^unexpected char (['\"])(?P<sign>.+)\1 at \d+", _character),
    (r"^No (first|last|random|aggregated) item", lambda _, __: ("there is nothing in it to take", "", "")),
    (r"^Missing end of comment tag", lambda _, __: ("'{#' is not closed by '#}'", "", "")),
    (r"^Missing end of raw directive", lambda _, __: ("{% raw %} is not closed by {% endraw %}", "", "")),
)
"""Jinja2's messages (parser.py, lexer.py and compiler.py of 3.1); others are shown as they are."""
