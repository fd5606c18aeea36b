"""From YAML events to plain data with places.

PyYAML's own composer recurses in C without a bound (a deep file kills the process), keeps the last of two
equal keys and expands aliases without a limit; so the events are put together here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from provisioner.errors import InputError, Problem
from provisioner.inventory.secrets import KINDS, Secret
from provisioner.inventory.spelling import said
from provisioner.inventory.syntax import MAX_DEPTH, TOO_DEEP, Clues, syntax_problem

MAX_ALIASED = 100_000
"""How many values the aliases of one file may stand for, all together."""
MAX_NUMBER = 100
"""Characters of a number. Python refuses to print much longer ones."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_CONSTRUCTED = frozenset(_PREFIX + name for name in ("bool", "int", "float"))
# A timestamp stays the text that was written: nothing here wants a date, and a version may look like one.
_TEXTS = frozenset(_PREFIX + name for name in ("str", "timestamp", "value"))


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column of a value, from 1, with the places of what is in it (`keys`: of a mapping's keys).

    `written` is how a number or a boolean is spelt in the file; "" for anything else.
    """

    line: int
    column: int
    children: Mapping[Hashable, Place] = field(default_factory=dict)
    keys: Mapping[Hashable, tuple[int, int]] = field(default_factory=dict)
    written: str = ""


@dataclass(frozen=True, slots=True)
class _Node:
    value: Any
    place: Place
    size: int = 1
    """How many values this one stands for, aliases expanded."""
    tag: str = _PREFIX + "str"


def compose(text: str, file: str) -> tuple[Any, Place]:
    """The data of one YAML document and its places; None for an empty one.

    Raises InputError with every problem.
    """
    composer = _Composer(text, file)
    try:
        node = composer.document()
    except yaml.MarkedYAMLError as error:
        composer.problems.append(syntax_problem(error, composer.clues, text, file))
    except yaml.YAMLError as error:
        composer.problems.append(Problem(file, 0, 0, f"not YAML: {error}"))
    if composer.problems:
        raise InputError(composer.problems)
    return node.value, node.place


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self.problems: list[Problem] = []
        self.clues = Clues()
        self._file = file
        self._loader = _Loader(text)
        self._anchors: dict[str, _Node | None] = {}
        self._aliased = 0

    def document(self) -> _Node:
        self._loader.get_event()  # the stream's start
        if self._loader.check_event(yaml.StreamEndEvent):
            return _Node(None, Place(1, 1))
        self._loader.get_event()  # the document's start
        node = self._node(0)
        self._loader.get_event()  # the document's end
        if not self._loader.check_event(yaml.StreamEndEvent):
            mark = self._loader.peek_event().start_mark
            self._problem(mark, "a second document begins here", "keep one document a file")
        return node

    def _node(self, depth: int) -> _Node:
        event = self._loader.get_event()
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            mark = event.start_mark
            raise InputError([*self.problems, Problem(self._file, mark.line + 1, mark.column + 1, TOO_DEEP)])
        if event.anchor is not None:
            self._anchors[event.anchor] = (
                None  # known, but not complete: an alias inside would contain itself
            )
        if getattr(event, "flow_style", False):
            self.clues.brackets.append(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if getattr(event, "flow_style", False):
            self.clues.brackets.pop()
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> _Node:
        place = _place(event)
        if event.anchor not in self._anchors:
            reason = f"the alias *{event.anchor} has no anchor &{event.anchor} before it"
            self._problem(event.start_mark, reason, "quote a text that begins with '*'")
            return _Node(None, place)
        node = self._anchors[event.anchor]
        if node is None:
            self._problem(event.start_mark, f"the alias *{event.anchor} contains itself")
            return _Node(None, place)
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            reason = f"the aliases of this file stand for more than {MAX_ALIASED} values"
            at = Problem(self._file, place.line, place.column, reason, "write the values out")
            raise InputError([*self.problems, at])
        return node

    def _scalar(self, event: yaml.ScalarEvent) -> _Node:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        place = _place(event)
        self.clues.see(event)
        if tag in _TEXTS or tag == _PREFIX + "merge":
            return _Node(event.value, place, tag=tag)
        if tag == _PREFIX + "null":
            return _Node(None, place)
        if tag in _CONSTRUCTED:
            return _Node(self._constructed(event, tag), replace(place, written=event.value))
        self._unknown_tag(event, tag)
        return _Node(None, place)

    def _constructed(self, event: yaml.ScalarEvent, tag: str) -> Any:
        node = yaml.ScalarNode(tag, event.value)
        try:
            if len(event.value) > MAX_NUMBER:
                raise OverflowError
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError, KeyError):  # KeyError: "!!bool maybe"
            kind = tag.removeprefix(_PREFIX)
            what = "is too long for a number" if len(event.value) > MAX_NUMBER else f"is not a valid {kind}"
            self._problem(event.start_mark, f"{said(event.value, 40)} {what}", "quote it to make it text")
            return None

    def _sequence(self, event: yaml.SequenceStartEvent, depth: int) -> _Node:
        self._expect_tag(event, "seq")
        values: list[Any] = []
        places: dict[Hashable, Place] = {}
        size = 1
        while not self._loader.check_event(yaml.SequenceEndEvent):
            node = self._node(depth + 1)
            places[len(values)] = node.place
            values.append(node.value)
            size += node.size
        self._loader.get_event()
        return _Node(values, _place(event, places), size)

    def _mapping(self, event: yaml.MappingStartEvent, depth: int) -> _Node:
        values: dict[Hashable, Any] = {}
        places: dict[Hashable, Place] = {}
        keys: dict[Hashable, tuple[int, int]] = {}
        merges: list[_Node] = []
        size = 1
        while not self._loader.check_event(yaml.MappingEndEvent):
            key, node = self._node(depth + 1), self._node(depth + 1)
            size += key.size + node.size
            if key.tag == _PREFIX + "merge":
                merges.append(node)
            elif self._usable_key(key, keys):
                values[key.value], places[key.value] = node.value, node.place
                keys[key.value] = (key.place.line, key.place.column)
        self._loader.get_event()
        place = _place(event, places, keys)
        for merge in merges:
            self._merge(merge, values, places, keys)
        if event.tag == "!secret":
            return _Node(self._secret(values, place), place)
        self._expect_tag(event, "map")
        return _Node(values, place, size)

    def _usable_key(self, key: _Node, seen: Mapping[Hashable, tuple[int, int]]) -> bool:
        where = (key.place.line, key.place.column)
        if isinstance(key.value, dict | list | Secret):
            hint = "quote a value that begins with '{{'"
            self.problems.append(Problem(self._file, *where, "a mapping or list cannot be a key", hint))
            return False
        if key.value in seen:
            first = next(each for each in seen if each == key.value)
            reason, hint = f"the key {_spelt(key)} is given twice", f"the first is in line {seen[first][0]}"
            if type(first) is not type(key.value):  # 1 and true, which are one key in Python
                reason = f"the key {_spelt(key)} counts as the same as {said(first)} in line {seen[first][0]}"
                hint = "quote both to make them texts"
            self.problems.append(Problem(self._file, *where, reason, hint))
            return False
        return True

    def _merge(
        self,
        merge: _Node,
        values: dict[Hashable, Any],
        places: dict[Hashable, Place],
        keys: dict[Hashable, tuple[int, int]],
    ) -> None:
        """`<<`: keys of the mapping itself win, then those of the earlier merged mapping."""
        several = isinstance(merge.value, list)
        sources = merge.value if several else [merge.value]
        for index, source in enumerate(sources):
            place = merge.place.children[index] if several else merge.place
            if not isinstance(source, dict):
                reason = "'<<' merges only a mapping or a list of mappings"
                self.problems.append(Problem(self._file, place.line, place.column, reason))
                continue
            for key in source:
                if key not in values:
                    values[key], places[key] = source[key], place.children[key]
                    keys[key] = place.keys[key]

    def _secret(self, values: Mapping[Hashable, Any], place: Place) -> Secret | None:
        kind, source = next(iter(values.items()), (None, None))
        if len(values) != 1 or kind not in KINDS or not isinstance(source, str) or not source:
            reason = "!secret takes one of env, file or command, with a text"
            hint = "for instance: !secret {env: PASSWORD}"
            self.problems.append(Problem(self._file, place.line, place.column, reason, hint))
            return None
        base = Path(self._file).parent
        return Secret(str(kind), source, base=base, file=self._file, line=place.line, column=place.column)

    def _expect_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", _PREFIX + kind):
            self._unknown_tag(event, event.tag)

    def _unknown_tag(self, event: Any, tag: str) -> None:
        if tag == "!secret":
            reason, hint = "!secret takes a mapping", "for instance: !secret {env: PASSWORD}"
        elif tag in ("!vault", "!vault-encrypted"):
            reason = "values encrypted by ansible-vault are not read"
            hint = "keep the secret elsewhere and name it: !secret {command: …}, {file: …} or {env: …}"
        else:
            reason, hint = f"the tag {tag.replace(_PREFIX, '!!')} is not known", "known: !secret"
        self._problem(event.start_mark, reason, hint)

    def _problem(self, mark: Any, reason: str, hint: str = "") -> None:
        self.problems.append(Problem(self._file, mark.line + 1, mark.column + 1, reason, hint))


def _spelt(key: _Node) -> str:
    return said(key.place.written or key.value)


def _place(
    event: Any,
    children: Mapping[Hashable, Place] | None = None,
    keys: Mapping[Hashable, tuple[int, int]] | None = None,
) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1, children or {}, keys or {})
