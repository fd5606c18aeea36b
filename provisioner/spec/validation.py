"""Runs cerberus over a mapping and says what it found in words, each fault with its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cerberus import Validator, errors

from provisioner.inventory.parse import kind_of
from provisioner.inventory.words import hint_for
from provisioner.spec.schema import SEPARATOR, keys_at

Path = tuple[Any, ...]

_TYPES = {
    "string": "a text",
    "dict": "a mapping",
    "list": "a list",
    "integer": "a whole number",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class Fault:
    """What is wrong at `path`; `key` when the key itself is meant, not its value."""

    path: Path
    reason: str
    hint: str = ""
    key: bool = False


def validate(data: Mapping[Any, Any], schema: Mapping[str, Any]) -> list[Fault]:
    """Everything in `data` that the schema does not allow."""
    faults: list[Fault] = []
    texts_only = _with_text_keys(data, (), faults)
    validator = Validator(schema)
    validator.validate(texts_only, normalize=False)
    for error in validator._errors:
        faults += _faults(error, schema)
    return faults


def _with_text_keys(value: Any, path: Path, faults: list[Fault]) -> Any:
    """A copy without keys that are no texts: cerberus cannot order them."""
    if isinstance(value, list):
        return [_with_text_keys(item, (*path, index), faults) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    for key in value:
        if not isinstance(key, str):
            reason = f"the key '{key}' is {kind_of(key)}, not a text"
            faults.append(Fault((*path, key), reason, "quote it", key=True))
    items = ((key, item) for key, item in value.items() if isinstance(key, str))
    return {key: _with_text_keys(item, (*path, key), faults) for key, item in items}


def _faults(error: Any, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if error.is_group_error:
        of_keys = error.code == errors.KEYSRULES.code
        for child in error.child_errors:
            for fault in _faults(child, schema):
                yield Fault(fault.path, fault.reason, fault.hint, key=True) if of_keys else fault
        return
    path = error.document_path
    name = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
    if error.code == errors.CUSTOM.code:
        reason, _, hint = error.info[0].partition(SEPARATOR)
        yield Fault(path, f"{name}: {reason}", hint)
    elif error.code == errors.UNKNOWN_FIELD.code:
        known = keys_at(schema, path[:-1])
        yield Fault(path, f"unknown key '{name}'", hint_for(name, known), key=True)
    elif error.code == errors.REQUIRED_FIELD.code:
        yield Fault(path, f"'{name}' is missing", "add it here")
    else:
        yield Fault(path, f"{name}: {_reason(error)}", _hint(error))


def _reason(error: Any) -> str:
    if error.code == errors.NOT_NULLABLE.code:
        return "has no value"
    if error.code == errors.EMPTY_NOT_ALLOWED.code:
        return "is empty"
    if error.code == errors.BAD_TYPE.code:
        wanted = [error.constraint] if isinstance(error.constraint, str) else error.constraint
        return f"must be {' or '.join(_TYPES[name] for name in wanted)}, this is {kind_of(error.value)}"
    if error.code == errors.UNALLOWED_VALUE.code:
        return f"'{error.value[:40]}' is not known"
    if error.code in (errors.MIN_VALUE.code, errors.MAX_VALUE.code):
        bound = "less than" if error.code == errors.MIN_VALUE.code else "more than"
        return f"{str(error.value)[:40]} is {bound} {error.constraint}"
    return f"breaks the rule '{error.rule}'"


def _hint(error: Any) -> str:
    if error.code == errors.UNALLOWED_VALUE.code:
        return hint_for(error.value, error.constraint)
    if error.code == errors.NOT_NULLABLE.code:
        return "give it a value, or leave the key out"
    if error.code != errors.BAD_TYPE.code:
        return ""
    if error.constraint == "list" and isinstance(error.value, str | int | float):
        return f"write a list: [{error.value}]"
    if error.constraint == "string" and isinstance(error.value, bool | int | float):
        return "quote it"
    return ""
