"""Objects held against the CustomResourceDefinitions of the manifests that they go with, as an API server would do it.

What a release knows stands in its own definitions: a field that another release has is told before anything is applied,
with the name that is near.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.inventory.words import hint_for

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_RANGES: Mapping[str, tuple[float, float]] = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
"""Of formats; a whole number without one is as long as Go's (kube-openapi, pkg/validation/validate/values.go)."""
_OPEN = "x-kubernetes-preserve-unknown-fields"
_EITHER = "x-kubernetes-int-or-string"

_WORDS = re.compile(r"\^(?:\(\?i\))?\((\w+(?:\|\w+)*)\)\??\$")
"""A pattern that is a choice of words."""
UNITS = "(ms|s|m|h)"
"""A part of every pattern of times."""
_DURATION = "a number with its unit, such as 30s or 500ms"

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Misfit:
    """`path` below the object. `unknown`: there is no such field. `missing`: it has to be there, and is not."""

    path: Path
    reason: str
    hint: str = ""
    unknown: bool = False
    missing: bool = False


def check_objects(
    objects: Iterable[Mapping[str, Any]], upstream: Sequence[Mapping[str, Any]], source: str, section: str
) -> None:
    """Raises ProvisionError naming each field of the `objects` that the definitions in `upstream` do not have, or not
    with such a value. `section` is the part of the spec that they are made of."""
    faults: list[tuple[str, str]] = []
    for item in objects:
        schema = schema_of(upstream, item["kind"], source)["properties"].get("spec", {})
        where = f"{section}: {item['kind']} of {source}"
        faults += [(f"{where}: {each.reason}", each.hint) for each in misfits(item["spec"], schema, "spec")]
    if faults:
        hints = dict.fromkeys(hint for _, hint in faults if hint)
        raise ProvisionError("\n".join(said for said, _ in faults), "; ".join(hints))


def schema_of(upstream: Iterable[Mapping[str, Any]], kind: str, source: str) -> Schema:
    """Of the version that is stored. Raises ProvisionError where nothing defines the `kind`."""
    for item in upstream:
        if item["kind"] == "CustomResourceDefinition" and item["spec"]["names"]["kind"] == kind:
            versions = item["spec"]["versions"]
            stored = next((each for each in versions if each.get("storage")), versions[0])
            schema: Schema = stored["schema"]["openAPIV3Schema"]
            return schema
    raise ProvisionError(f"{source} has no CustomResourceDefinition of {kind}")


def misfits(value: object, schema: Schema, *path: str | int) -> Iterator[Misfit]:
    """What of the `value` at `path` is not as the `schema` says: names of fields, types, sets of values, patterns,
    bounds, numbers of entries."""
    kind = schema.get("type", "")
    if schema.get(_EITHER):
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            yield Misfit(path, f"{_dotted(path)} has to be a number or a string, not {value!r}")
        return
    if kind not in _TYPES:
        return
    right = isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind != "boolean")
    if not right:
        yield Misfit(
            path, f"{_dotted(path)} has to be {_article(kind)}, not {value!r}", _retyped(value, schema)
        )
    elif "enum" in schema and value not in schema["enum"]:
        known = [str(each) for each in schema["enum"] if each != ""]
        yield Misfit(path, f"{_dotted(path)} cannot be {value!r}", hint_for(str(value), known))
    elif isinstance(value, dict):
        yield from _of_object(value, schema, path)
    elif isinstance(value, (list, tuple)):
        most = schema.get("maxItems")
        if most is not None and len(value) > most:
            yield Misfit(path, f"{_dotted(path)} has {len(value)} entries, at most {most} may be there")
        for index, each in enumerate(value):
            yield from misfits(each, schema.get("items", {}), *path, index)
    elif isinstance(value, str):
        yield from _of_text(value, schema, path)
    elif isinstance(value, (int, float)):
        yield from _of_number(value, schema, path)


def _of_object(value: Mapping[str, Any], schema: Schema, path: Path) -> Iterator[Misfit]:
    known: Mapping[str, Schema] = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, each in value.items():
        if name in known:
            yield from misfits(each, known[name], *path, name)
        elif isinstance(others, Mapping):
            yield from misfits(each, others, *path, name)
        elif not others and not schema.get(_OPEN):
            reason = f"{_dotted(path)} has no field '{name}'"
            yield Misfit((*path, name), reason, hint_for(name, sorted(known)), unknown=True)
    for name in schema.get("required", ()):
        if name not in value and "default" not in known.get(name, {}):
            yield Misfit(path, f"{_dotted(path)} lacks the field '{name}'", missing=True)


def _of_text(value: str, schema: Schema, path: Path) -> Iterator[Misfit]:
    """Patterns are Go's: (?i) may stand behind the first letter. One that Python cannot read is left to the API
    server."""
    pattern = str(schema.get("pattern", ""))
    try:
        fits = re.search(pattern.replace("(?i)", ""), value, re.IGNORECASE if "(?i)" in pattern else 0)
    except re.error:
        return
    if not fits:
        words = words_of({"pattern": pattern})
        hint = hint_for(value, words) if words else _DURATION if UNITS in pattern else ""
        yield Misfit(path, f"{_dotted(path)} cannot be {value!r}", hint or f"it has to fit {pattern}")


def _of_number(value: float, schema: Schema, path: Path) -> Iterator[Misfit]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if schema["type"] == "integer":
        smallest, largest = _RANGES.get(str(schema.get("format")), _RANGES["int64"])
        if not smallest <= value <= largest:
            least = smallest if least is None else least
            most = largest if most is None else most
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"{'any' if least is None else least} to {'any' if most is None else most}"
        yield Misfit(path, f"{_dotted(path)} is {value}, {bounds} go")


def words_of(schema: Schema) -> tuple[str, ...]:
    """Those that a text may be; none where it is no choice of words."""
    choice = _WORDS.fullmatch(str(schema.get("pattern", "")))
    return tuple(choice[1].split("|")) if choice else tuple(each for each in schema.get("enum", ()) if each)


def _dotted(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _retyped(value: object, schema: Schema) -> str:
    kind = schema["type"]
    number = kind in ("integer", "number") and isinstance(value, str) and value.isdecimal()
    truth = kind == "boolean" and isinstance(value, str) and value.lower() in ("true", "false")
    if kind == "string" and isinstance(value, (bool, int, float)):
        return _DURATION if UNITS in str(schema.get("pattern", "")) else "quote it"
    return "leave out the quotes" if number or truth else ""


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
