"""Runs cerberus over a mapping and says what it found in words, each fault with its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cerberus import TypeDefinition, Validator, errors

from provisioner.inventory.secrets import Secret
from provisioner.inventory.spelling import kind_of, oddly_spelt, said
from provisioner.inventory.words import hint_for, nearest
from provisioner.spec import calicowords
from provisioner.spec.othernames import hint_of, key_elsewhere, value_elsewhere
from provisioner.spec.schema import keys_at, refusal, rules_at
from provisioner.spec.schemarules import SEPARATOR

Path = tuple[Any, ...]
Written = Callable[[Path], str]
"""How the number or the boolean at a path is spelt in the file; "" for anything else."""

_TYPES = {
    "string": "a text",
    "dict": "a mapping",
    "list": "a list",
    "integer": "a whole number",
    "boolean": "true or false",
    "secret": "a !secret",
}

_BOOLEANS = ("true", "false", "yes", "no", "on", "off")


class _Validator(Validator):  # type: ignore[misc]  # cerberus has no types
    types_mapping: ClassVar[dict[str, TypeDefinition]] = {
        **Validator.types_mapping,
        "secret": TypeDefinition("secret", (Secret,), ()),
    }


@dataclass(frozen=True)
class Fault:
    """What is wrong at `path`; `key` when the key itself is meant, not its value.

    `meant` is the path that a misspelt key stands for.
    """

    path: Path
    reason: str
    hint: str = ""
    key: bool = False
    meant: Path | None = None
    missing: bool = False


def validate(
    data: Mapping[Any, Any], schema: Mapping[str, Any], written: Written = lambda _: ""
) -> list[Fault]:
    """Everything in `data` that the schema does not allow; one fault for each path."""
    faults = list(_odd_numbers(data, schema, written))
    texts_only = _with_text_keys(data, (), schema, faults)
    validator = _Validator(schema)
    validator.validate(texts_only, normalize=False)
    for error in validator._errors:
        faults += _faults(error, schema, written)
    meant = {fault.meant for fault in faults}
    bad = {fault.path for fault in faults if not fault.key}
    first: dict[tuple[Path, bool], Fault] = {}
    for fault in faults:  # further ones of the same value follow from its first
        first.setdefault((fault.path, fault.key), fault)
    return [
        fault
        for fault in first.values()
        if not (fault.missing and fault.path in meant)
        and not any(fault.path[:depth] in bad for depth in range(1, len(fault.path)))
    ]


def _odd_numbers(data: Any, schema: Mapping[str, Any], written: Written, path: Path = ()) -> Iterator[Fault]:
    """Numbers that YAML reads differently than they look, and booleans, which cerberus takes for numbers."""
    for key, rules in schema.items():
        value = data.get(key) if isinstance(data, dict) else None
        at = (*path, key)
        number = "integer" in rules["type"]
        name = next((each for each in reversed(at) if isinstance(each, str)), key)
        if number and isinstance(value, bool):
            yield Fault(
                at, f"{name}: must be a whole number, this is the boolean {said(written(at) or value)}"
            )
        elif number and isinstance(value, int):
            odd = oddly_spelt(written(at), value)
            if odd:
                yield Fault(at, f"{name}: {odd[0]}", odd[1])
        elif rules["type"] == "list" and isinstance(value, list) and "schema" in rules:
            each_of = dict.fromkeys(range(len(value)), rules["schema"])
            yield from _odd_numbers(dict(enumerate(value)), each_of, written, at)
        elif rules["type"] == "dict":
            yield from _odd_numbers(value, rules.get("schema", {}), written, at)


def _with_text_keys(value: Any, path: Path, schema: Mapping[str, Any], faults: list[Fault]) -> Any:
    """A copy without keys that are no texts: cerberus cannot order them."""
    if isinstance(value, list):
        return [_with_text_keys(item, (*path, index), schema, faults) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known = keys_at(schema, path)
    for key in value:
        if isinstance(key, str):
            continue
        at = (*path, key)
        if known:
            faults.append(_unknown(at, known))
        else:
            faults.append(
                Fault(at, f"the key {said(key)} is {kind_of(key)}, not a text", "quote it", key=True)
            )
    items = ((key, item) for key, item in value.items() if isinstance(key, str))
    return {key: _with_text_keys(item, (*path, key), schema, faults) for key, item in items}


def _faults(error: Any, schema: Mapping[str, Any], written: Written) -> Iterator[Fault]:
    if error.is_group_error:
        of_keys = error.code == errors.KEYSRULES.code
        for child in error.child_errors:
            for fault in _faults(child, schema, written):
                yield Fault(fault.path, fault.reason, fault.hint, key=True) if of_keys else fault
        return
    path = error.document_path
    name = next((said(step).strip("'") for step in reversed(path) if isinstance(step, str)), "")
    here = value_elsewhere(path, error.value, written(path))
    if error.code == errors.CUSTOM.code:
        reason, _, hint = error.info[0].partition(SEPARATOR)
        yield Fault(path, f"{name}: {reason}", hint_of(here) if here else hint)
    elif error.code == errors.UNKNOWN_FIELD.code:
        yield _unknown(path, keys_at(schema, path[:-1]))
    elif error.code == errors.REQUIRED_FIELD.code:
        yield Fault(path, f"'{name}' is missing", "add it here", missing=True)
    elif error.code == errors.BAD_TYPE.code and rules_at(schema, path).get("type") == "secret":
        # What is written there may be the secret itself.
        yield Fault(
            path, f"{name}: must be a !secret", "such as !secret {env: PASSWORD} or !secret {file: PATH}"
        )
    elif error.code == errors.BAD_TYPE.code:
        reason, hint = _bad_type(error, rules_at(schema, path), written(path))
        yield Fault(path, f"{name}: {reason}", hint_of(here) if here else hint)
    else:
        hint = _hint(error, rules_at(schema, path))
        yield Fault(path, f"{name}: {_reason(error)}", hint_of(here) if here else hint)


def _unknown(path: Path, known: tuple[str, ...]) -> Fault:
    key = path[-1]
    here = key_elsewhere(path, known)
    hint = hint_of(here) if here else calicowords.of_variable(path)
    if hint:
        return Fault(path, f"unknown key {said(key)}", hint, key=True)
    near = nearest(key, known) if isinstance(key, str) else None
    meant = (*path[:-1], near) if near else None
    return Fault(path, f"unknown key {said(key)}", hint_for(key, known), key=True, meant=meant)


def _reason(error: Any) -> str:
    if error.code == errors.NOT_NULLABLE.code:
        return "has no value"
    if error.code == errors.EMPTY_NOT_ALLOWED.code:
        return "is empty"
    if error.code == errors.UNALLOWED_VALUE.code:
        return f"{said(error.value)} is not known"
    if error.code == errors.MAX_LENGTH.code:
        return f"has {len(error.value)} entries, {error.constraint} are the most"
    if error.code in (errors.MIN_VALUE.code, errors.MAX_VALUE.code):
        bound = "less than" if error.code == errors.MIN_VALUE.code else "more than"
        number = said(error.value, 40).strip("'")
        return f"{number} is {bound} {error.constraint}"
    return f"breaks the rule '{error.rule}'"


def _hint(error: Any, rules: Mapping[str, Any]) -> str:
    if error.code == errors.UNALLOWED_VALUE.code:
        return hint_for(error.value, error.constraint)
    if error.code in (errors.NOT_NULLABLE.code, errors.EMPTY_NOT_ALLOWED.code):
        return "give it a value" + ("" if rules.get("required") else ", or leave it out")
    if error.code == errors.MAX_LENGTH.code:
        return "leave out some"
    if error.code in (errors.MIN_VALUE.code, errors.MAX_VALUE.code):
        return f"{rules['min']} to {rules['max']}"
    return ""


def _bad_type(error: Any, rules: Mapping[str, Any], written: str) -> tuple[str, str]:
    """Reason and hint for a value of a wrong type. A hint is given only when following it ends the trouble."""
    value = error.value
    wanted = [error.constraint] if isinstance(error.constraint, str) else error.constraint
    found = kind_of(value)
    if isinstance(value, str | bool | int | float):
        found = f"{found.replace('a ', 'the ', 1)} {said(written or value)}"
    reason = f"must be {' or '.join(_TYPES[name] for name in wanted)}, this is {found}"
    if "string" in wanted and written:
        return refusal(rules, written) or (reason, f"quote it: '{written}'")
    if wanted == ["list"] and isinstance(value, str):
        parts = value.replace(",", " ").split()
        if parts and all(refusal(rules.get("schema", {}), part) is None for part in parts):
            return reason, f"write a list: [{', '.join(parts)}]"
    if wanted == ["dict"] and rules.get("schema"):
        return reason, f"its keys are: {', '.join(rules['schema'])}"
    if wanted == ["dict"]:
        return reason, "write 'name: value' lines"
    if wanted == ["boolean"] and isinstance(value, str) and value.lower() in _BOOLEANS:
        return reason, "leave out the quotes"
    if wanted == ["integer"] and isinstance(value, str) and re.fullmatch("/[0-9]{1,3}", value):
        return reason, f"did you mean {int(value[1:])}?"
    if wanted == ["integer"] and isinstance(value, str) and value.isdecimal() and value.isascii():
        return reason, "leave out the quotes"
    return reason, ""
