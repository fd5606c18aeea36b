"""What in a template fails, and why.

An error of Jinja2 or of Python tells that something failed, seldom what. So the template is taken apart once more: the
smallest part that fails in the same way is the culprit, and what that works on says why. This is done for errors only.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import Parameter, signature
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.utils import missing
from yaml import YAMLError

from provisioner.errors import ProvisionError
from provisioner.inventory.spelling import kind_of
from provisioner.inventory.templatesyntax import said_by_jinja
from provisioner.inventory.words import nearest

FAULTS = (
    jinja2.TemplateError, ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RecursionError,
    SyntaxError, TypeError, ValueError, YAMLError,
)  # fmt: skip
"""What templates raise: Jinja2's own errors and those of the values and filters that they work with."""
NO_OTHERS = jinja2.FunctionLoader(lambda _name: None)
"""A template that includes another one fails with jinja2.TemplateNotFound."""


class UnknownError(jinja2.UndefinedError):
    """`name` was asked of `obj` (of the variables: missing), which has none."""

    def __init__(self, obj: Any, name: Any, message: str | None = None) -> None:
        super().__init__(message)
        self.obj = obj
        self.name = name


class TooLongError(Exception):
    """The search takes longer than it may: in the templates of people it takes milliseconds."""


_SECONDS = 2.0


class Unknown(jinja2.StrictUndefined):
    """What is not defined, and whatever is done with it but asking so fails with an UnknownError."""

    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: Any = missing, name: Any = None, exc: Any = None):
        del exc
        super().__init__(hint, obj, name)
        if hint is None:
            self._undefined_exception = partial(UnknownError, obj, name)  # type: ignore[assignment]


class Search:
    """Of the part of a template that raised `fault` with the variables `names`."""

    def __init__(
        self, environment: jinja2.Environment, names: Mapping[str, Any], fault: BaseException, scope: str = ""
    ) -> None:
        """Where the environment's context looks names up in a mapping of its own, `scope` is that one's key."""
        self._environment = environment
        self._scope = scope
        self._names = names
        self._fault = fault
        self._end = time.monotonic() + _SECONDS

    def among(self, tree: nodes.Node, line: int) -> nodes.Node | None:
        """The culprit, sought first in what begins in the line. None when nothing fails alone as all did."""
        parts = sorted(_parts(tree), key=lambda part: part.lineno != line)
        if isinstance(self._fault, UnknownError):
            for part in parts:
                for node in _within(part):
                    if _asks_for(node, self._fault):
                        return node
        found = (self._culprit(part) for part in parts)
        return next((each for each in found if each is not None), None)

    def _culprit(self, node: nodes.Node) -> nodes.Node | None:
        for child in node.iter_child_nodes():
            found = None if isinstance(node, nodes.For) else self._culprit(child)
            if found is not None:
                return found
        if isinstance(node, nodes.For):
            return node if self._comes_apart(node) else None
        alone = isinstance(node, nodes.Expr) and not isinstance(node, nodes.Slice)
        if not alone or getattr(node, "ctx", "load") != "load":
            return None
        try:
            self._value(node)
        except ProvisionError:
            return None
        except FAULTS as fault:
            same = type(fault) is type(self._fault) and str(fault) == str(self._fault)
            return node if same else None
        return None

    def _value(self, node: nodes.Node) -> Any:
        """Raises what the expression does, and TooLongError."""
        if time.monotonic() > self._end:
            raise TooLongError
        target = nodes.Name("result", "store")
        template: Any = nodes.Template(
            [nodes.Assign(target, cast(nodes.Expr, node), lineno=1)], lineno=1
        ).set_environment(self._environment)
        code = self._environment.compile(template)
        loaded = self._environment.template_class.from_code(
            self._environment, code, self._environment.globals
        )
        context = loaded.new_context({self._scope: self._names} if self._scope else dict(self._names))
        for _ in loaded.root_render_func(context):
            pass
        value = context.vars["result"]
        return list(value) if isinstance(value, Iterator) else value

    def _comes_apart(self, loop: nodes.For) -> bool:
        """Whether it fails before it uses an element: there are none, or one is not made of as many values as it
        has names."""
        if not isinstance(self._fault, TypeError | ValueError):
            return False
        try:
            value = self._value(loop.iter)
        except (ProvisionError, *FAULTS):
            return False
        if not isinstance(value, Iterable) or not isinstance(loop.target, nodes.Tuple):
            return not isinstance(value, Iterable)
        count = len(loop.target.items)
        return any(not isinstance(each, Collection) or len(each) != count for each in value)

    def said(self, culprit: nodes.Node | None) -> tuple[str, str]:
        """Reason and hint."""
        fault = self._fault
        if isinstance(fault, UnknownError):
            return self._unknown(fault, culprit)
        if isinstance(fault, jinja2.TemplateNotFound):
            return "templates do not include or import each other here", "write all into one file"
        if isinstance(fault, RecursionError | SyntaxError):
            return "it is nested too deeply, or calls itself without end", ""
        if isinstance(fault, jinja2.TemplateError):
            return said_by_jinja(fault.message or "it fails", self._environment)[:2]
        if isinstance(fault, ZeroDivisionError):
            return "division by zero", ""
        if isinstance(fault, OverflowError | NameError):
            return "a number in it is too large", ""
        tell = _TELL.get(type(culprit), _TELL.get(type(culprit).__mro__[1])) if culprit is not None else None
        return tell(self, culprit) if tell else ("it does not work with the values of its variables", "")

    def _unknown(self, fault: UnknownError, culprit: nodes.Node | None) -> tuple[str, str]:
        if fault.obj is missing:
            if fault.name == "lookup":
                return "'lookup' is undefined", "for values from the environment write !secret {env: NAME}"
            return f"'{fault.name}' is undefined", _near(fault.name, self._names)
        written = shown(culprit.node) if isinstance(culprit, nodes.Getattr | nodes.Getitem) else ""
        this, kind = f"'{written}'" if written else "this", kind_of(fault.obj)
        if (keys := _keys(fault.obj)) is not None:
            return f"{this if written else kind} has no '{fault.name}'", _near(fault.name, keys)
        if isinstance(fault.name, int) and isinstance(fault.obj, Collection):
            return f"{this} is {kind} of {len(fault.obj)}: there is none with the number {fault.name}", ""
        return (
            f"{this} is {kind} and has no '{fault.name}'" if written else f"{kind} has no '{fault.name}'",
            "",
        )

    def _kind(self, node: nodes.Node) -> str:
        """What the value of the expression is."""
        return kind_of(self._value(node))

    def this(self, node: nodes.Node) -> str:
        """The expression and what it is, for a message."""
        written = shown(node)
        return f"'{written}' is {self._kind(node)}" if written else f"this is {self._kind(node)}"

    def of_operation(self, node: Any) -> tuple[str, str]:
        left, right = self._kind(node.left), self._kind(node.right)
        hint = ""
        if node.operator == "+" and "a text" in (left, right):
            hint = "~ joins texts and numbers; `| int` makes a number of a text"
        return f"'{node.operator}' does not go with {left} and {right}", hint

    def of_sign(self, node: Any) -> tuple[str, str]:
        return f"'{node.operator}' needs a number, {self.this(node.node)}", ""

    def of_comparison(self, node: Any) -> tuple[str, str]:
        sign, other = _SIGNS[node.ops[0].op], node.ops[0].expr
        if "in" in sign:
            return f"'{sign}' needs a list, a mapping or a text, {self.this(other)}", ""
        return f"'{sign}' does not compare {self._kind(node.expr)} with {self._kind(other)}", ""

    def of_call(self, node: Any) -> tuple[str, str]:
        called = self._value(node.node)
        if not callable(called):
            return f"{self.this(node.node)}, and no function", ""
        written = shown(node.node)
        return (
            f"'{written}' is not called with what it takes"
            if written
            else "a function is not called with what it takes",
            "",
        )

    def of_filter(self, node: Any) -> tuple[str, str]:
        what = "test" if isinstance(node, nodes.Test) else "filter"
        known = self._environment.tests if what == "test" else self._environment.filters
        taken = _taken(known[node.name])
        given = {each.key for each in node.kwargs}
        if taken is not None and (len(node.args) > len(taken) or not given <= {each.name for each in taken}):
            names = ", ".join(each.name for each in taken)
            return (
                f"the {what} '{node.name}' is given more than it takes",
                f"it takes {names}" if names else "",
            )
        needed = [each.name for each in (taken or ())[len(node.args) :] if each.default is Parameter.empty]
        if lacking := [each for each in needed if each not in given]:
            return f"the {what} '{node.name}' needs {' and '.join(lacking)}", ""
        return f"the {what} '{node.name}' does not go with {self._kind(node.node)}", ""

    def of_place(self, node: Any) -> tuple[str, str]:
        return f"{self.this(node.node)}, and is asked for {self._place(node.arg)}", ""

    def _place(self, node: nodes.Node) -> str:
        return "a part whose limits are no numbers" if isinstance(node, nodes.Slice) else self._kind(node)

    def of_mapping(self, _: Any) -> tuple[str, str]:
        return "a key of a mapping cannot be a list or a mapping", ""

    def of_loop(self, node: Any) -> tuple[str, str]:
        value = self._value(node.iter)
        if not isinstance(value, Iterable):
            return f"'for' needs a list, {self.this(node.iter)}", ""
        count = len(node.target.items) if isinstance(node.target, nodes.Tuple) else 1
        hint = f"write {shown(node.iter)}.items()" if isinstance(value, Mapping) and shown(node.iter) else ""
        return (
            f"'for' takes {count} values of each element, and there is one that is no list of {count}",
            hint,
        )


def shown(node: nodes.Node | None) -> str:
    """A name, or a way from one, as it is written; "" for all else."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (before := shown(node.node)):
        return f"{before}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and (before := shown(node.node)):
        return f"{before}[{node.arg.value!r}]"
    return ""


def written_in(node: nodes.Node | None) -> Iterator[str]:
    """Words that stand where the node does, the most telling first."""
    if node is None:
        return
    yield shown(node)
    if isinstance(node, nodes.Filter | nodes.Test):
        yield node.name
    yield from (each.name for each in _within(node) if isinstance(each, nodes.Name))


def _parts(node: nodes.Node) -> Iterator[nodes.Node]:
    """Whole expressions and loops."""
    if isinstance(node, nodes.Expr | nodes.For):
        yield node
    if not isinstance(node, nodes.Expr):
        for child in node.iter_child_nodes():
            yield from _parts(child)


def _within(node: nodes.Node) -> Iterator[nodes.Node]:
    """The node and all below it, the innermost first."""
    for child in node.iter_child_nodes():
        yield from _within(child)
    yield node


def _asks_for(node: nodes.Node, fault: UnknownError) -> bool:
    if fault.obj is missing:
        return isinstance(node, nodes.Name) and node.ctx == "load" and node.name == fault.name
    if isinstance(node, nodes.Getattr):
        return bool(node.attr == fault.name)
    return (
        isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == fault.name
    )


def _keys(value: object) -> list[str] | None:
    if isinstance(value, Mapping):
        return [key for key in value if isinstance(key, str)]
    return [each.name for each in fields(value)] if is_dataclass(value) else None


def _near(name: object, known: Iterable[object]) -> str:
    near = nearest(str(name), (each for each in known if isinstance(each, str)))
    return f"did you mean '{near}'?" if near else ""


def _taken(function: Any) -> list[Parameter] | None:
    """What a filter or a test takes beside the value and what Jinja2 itself gives; None for any number."""
    try:
        parameters = list(signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(each.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) for each in parameters):
        return None
    return parameters[2 if hasattr(function, "jinja_pass_arg") else 1 :]


_SIGNS = {
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "gteq": ">=",
    "lt": "<",
    "lteq": "<=",
    "in": "in",
    "notin": "not in",
}
_TELL: Mapping[type, Any] = {
    nodes.BinExpr: Search.of_operation,
    nodes.UnaryExpr: Search.of_sign,
    nodes.Compare: Search.of_comparison,
    nodes.Call: Search.of_call,
    nodes.Filter: Search.of_filter,
    nodes.Test: Search.of_filter,
    nodes.Getitem: Search.of_place,
    nodes.Dict: Search.of_mapping,
    nodes.For: Search.of_loop,
}
