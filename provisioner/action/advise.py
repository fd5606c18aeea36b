"""`advise`: what is answered, read from hosts or asked becomes a site, and that is judged. Nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from provisioner.action.advisereleases import releases_in
from provisioner.engine.advice import UNKNOWN, Advice, Answered, Question
from provisioner.errors import InputError, Problem
from provisioner.inventory.words import nearest
from provisioner.network.advicetable import advice_table
from provisioner.network.advise import judge
from provisioner.network.site import MODULES, Site, version_of

_MOST_NODES = 100_000
TOLD_BY_HOSTS = ("environment", "nodes", "subnets", "kernel", "modules")
Ask = Callable[[Question], str]


@dataclass(frozen=True)
class Known:
    """What an inventory and its hosts tell: `answers` by question, and what `else_` of a Site is no answer."""

    answers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    else_: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    remarks: tuple[str, ...] = ()
    after: Callable[[Advice], Iterable[str]] = lambda _: ()
    """Further remarks, about what is advised."""


def advise(
    given: Mapping[str, str | None], inventory: Path | None, ask: Ask | None, *, rest_unknown: bool = False
) -> Advice:
    """`given` are texts by question; `ask` asks somebody, None when nobody is there. Raises InputError for answers that
    are none, are missing, or contradict each other or the hosts, and for a wrong inventory; UnreachableError."""
    questions = advice_table().questions
    said = {name: text for name, text in given.items() if text is not None}
    _check(questions, said)
    nobody = ask is None and not rest_unknown
    if nobody:  # before any host is reached
        hosts = TOLD_BY_HOSTS if inventory is not None else ()
        _refuse_missing([each for each in questions if each.name not in (*said, *hosts)], inventory)
    known = Known()
    if inventory is not None:
        from provisioner.action.advisefacts import read_hosts

        known = read_hosts(inventory)
        _refuse_denied_policies(said, known)
    missing = [
        each
        for each in questions
        if each.name not in said and known.answers.get(each.name, UNKNOWN) == UNKNOWN
    ]
    if nobody:
        _refuse_missing(missing, inventory)
    asked = {each.name: _asked(each, ask) for each in missing} if ask is not None and not rest_unknown else {}
    answers = [_answered(each.name, said, asked, known.answers) for each in questions]
    further = known.else_ if inventory is not None else {"releases": releases_in(None)}
    site = site_of({each.name: each.value for each in answers}, further)
    try:
        advice = judge(site, advice_table())
    except InputError as fault:  # which of the hosts it is due to stands among the remarks
        raise InputError(fault.problems, "; ".join(known.remarks)) from None
    remarks = (*advice.remarks, *known.remarks, *known.after(advice), *_differing(said, known.answers))
    return replace(advice, answers=tuple(answers), remarks=tuple(remarks))


def _refuse_denied_policies(said: Mapping[str, str], known: Known) -> None:
    """The advice is a section to paste, in which the policies of the inventory stay."""
    if said.get("policy") == "no" and known.answers.get("policy") == "yes":
        reason = "no was given, and the inventory has network.policies"
        raise InputError([Problem("--policy", 0, 0, reason, "leave --policy out, or the policies")])


def site_of(answers: Mapping[str, str], further: Mapping[str, Any]) -> Site:
    """A site by answers, which have been checked."""
    words: dict[str, Any] = {
        name: value for name, value in answers.items() if name not in ("nodes", "kernel", "modules")
    }
    nodes, kernel, modules = (answers.get(name, UNKNOWN) for name in ("nodes", "kernel", "modules"))
    return Site(
        **words,
        nodes=int(nodes) if nodes != UNKNOWN else None,
        kernel=version_of(kernel),
        modules=None if modules == UNKNOWN else frozenset(_names(modules)),
        **further,
    )


def fault_of(question: Question, text: str) -> tuple[str, str] | None:
    """Why a text is no answer, and what would be one."""
    if text == UNKNOWN:
        return None
    if question.choices:
        near = nearest(text, (*question.choices, UNKNOWN))
        hint = f"did you mean '{near}'?" if near else _possible(question)
        return None if text in question.choices else (f"'{text}' is no answer to: {question.text}", hint)
    fault = _FREE[question.name](text)
    return (fault[0], f"did you mean '{UNKNOWN}'?") if fault and nearest(text, (UNKNOWN,)) else fault


def _number_fault(text: str) -> tuple[str, str] | None:
    if not re.fullmatch(r"-?[0-9]{1,20}", text):
        return f"'{text}' is no number of nodes", "a whole number in digits alone, such as 3"
    if int(text) < 1:
        return f"{text} is less than 1", f"1 to {_MOST_NODES}"
    return (f"{text} is more than {_MOST_NODES}", f"1 to {_MOST_NODES}") if int(text) > _MOST_NODES else None


def _kernel_fault(text: str) -> tuple[str, str] | None:
    """What `uname -r` says is an answer; of two versions the first would not be the oldest."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)+([-+~_][\w.+~-]*)?", text) and version_of(text) is not None:
        return None
    return f"'{text}' is no version of a kernel", "such as 6.1"


def _modules_fault(text: str) -> tuple[str, str] | None:
    if not text.strip(" ,"):
        return "it names no module", f"some of {','.join(MODULES)}, or none"
    names = [each.strip() for each in text.split(",") if each.strip()]
    if "none" in names and len(names) > 1:
        return "none is said beside modules", "leave none out, or the modules"
    strange = next((each for each in names if each not in (*MODULES, "none")), None)
    if strange is None:
        return None
    near = nearest(strange, (*MODULES, "none"))
    hint = f"did you mean '{near}'?" if near else f"{', '.join(MODULES)}, or none"
    return f"'{strange}' is none of the modules that matter", hint


_FREE = MappingProxyType({"nodes": _number_fault, "kernel": _kernel_fault, "modules": _modules_fault})
"""What judges the answer to a question without choices."""


def _check(questions: Iterable[Question], said: Mapping[str, str]) -> None:
    problems = []
    for each in questions:
        fault = fault_of(each, said[each.name]) if each.name in said else None
        if fault:
            problems.append(Problem(f"--{each.name}", 0, 0, *fault))
    if problems:
        raise InputError(problems)


def _refuse_missing(missing: Iterable[Question], inventory: Path | None) -> None:
    """Who is not at a terminal shall not get advice for another site than is meant."""
    problems = [
        Problem(f"--{each.name}", 0, 0, f"is not given: {each.text}", _possible(each)) for each in missing
    ]
    if problems:
        read = "" if inventory is not None else "an INVENTORY tells of its hosts; "
        raise InputError(problems, f"{read}--rest-unknown takes what is missing for not known")


def _possible(question: Question) -> str:
    free = {
        "nodes": "a number",
        "kernel": "a version such as 6.1",
        "modules": f"some of {','.join(MODULES)}, or none",
    }
    return f"{', '.join(question.choices) or free[question.name]} or {UNKNOWN}"


def _asked(question: Question, ask: Ask) -> str:
    return ask(question)


def _answered(
    name: str, said: Mapping[str, str], asked: Mapping[str, str], read: Mapping[str, str]
) -> Answered:
    for origin, texts in (("given", said), ("asked", asked), ("read", read)):
        if texts.get(name, UNKNOWN) != UNKNOWN:
            return Answered(name, texts[name], origin)
    return Answered(name, UNKNOWN, UNKNOWN)


def _differing(said: Mapping[str, str], read: Mapping[str, str]) -> Iterator[str]:
    for name, value in read.items():
        if said.get(name, value) not in (value, UNKNOWN):
            yield f"--{name} {said[name]} was given and holds here; of the hosts is read: {value}"


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip() and each.strip() != "none"]
