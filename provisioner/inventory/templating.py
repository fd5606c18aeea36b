"""Jinja2 as Ansible uses it in variables.

Imports jinja2 (55 ms): import this only when a value is a template.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Template, Undefined, pass_context
from jinja2.nativetypes import NativeEnvironment
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from provisioner.inventory.secrets import Secret
from provisioner.inventory.templateculprit import FAULTS, NO_OTHERS, Unknown
from provisioner.inventory.templatefaults import Source, TemplateFaultError, explain

_SCOPE = "\0scope"
_TRUE = frozenset({"yes", "true", "on", "1", "y", "t"})


class _ScopedContext(Context):
    """Looks names up only when the template uses them, since they may be templates themselves."""

    def resolve_or_missing(self, key: str) -> Any:
        scope: Mapping[str, Any] = self.parent[_SCOPE]
        return scope[key] if key in scope else super().resolve_or_missing(key)


def _join(parts: Iterable[Any]) -> Any:
    """A lone expression keeps its type; anything else is text. A secret in the midst of text would show."""
    values = list(parts)
    if len(values) == 1:
        if isinstance(values[0], Undefined):
            str(values[0])  # raises, with the name
        return values[0]
    if any(isinstance(value, Secret) for value in values):
        raise TemplateFaultError("a secret can only stand alone in {{ }}")
    return "".join(str(value) for value in values)


class _Environment(NativeEnvironment, ImmutableSandboxedEnvironment):
    concat = staticmethod(_join)  # type: ignore[assignment]
    context_class = _ScopedContext


class _Template(Template):
    environment_class = _Environment

    def render(self, *args: Any, **kwargs: Any) -> Any:
        context = self.new_context(dict(*args, **kwargs))
        return _join(self.root_render_func(context))


_Environment.template_class = _Template


@pass_context
def _as_it_is(_context: Context, value: Any) -> Any:
    """Keeps jinja2 from folding constant expressions into text: they would lose their type."""
    return value


def _boolean(value: Any) -> bool:
    return str(value).strip().lower() in _TRUE


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(undefined=Unknown, loader=NO_OTHERS, finalize=_as_it_is)
    environment.filters["bool"] = _boolean
    return environment


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


def render_text(text: str, scope: Mapping[str, Any]) -> Any:
    """The value of one template, with names from `scope`. Raises TemplateFaultError."""
    try:
        return _plain(_compiled(text).render({_SCOPE: scope}))
    except FAULTS as fault:
        raise explain(fault, Source(_environment(), text, scope=_SCOPE), scope) from None


def _plain(value: Any) -> Any:
    """Data without Jinja's own types: generators become lists, mappings become dicts."""
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | Iterator):
        return [_plain(item) for item in value]
    return value
