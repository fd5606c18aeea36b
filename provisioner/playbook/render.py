"""Jinja2 for arguments, conditions and template files. A name that is not defined is an error, never an empty string."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

_WHOLE = re.compile(r"\{\{((?:(?!\{\{|\}\}).)*)\}\}", re.DOTALL)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - the output is configuration, not HTML
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["to_json"] = lambda value: json.dumps(value, sort_keys=True)
    environment.filters["to_yaml"] = lambda value: yaml.safe_dump(value, sort_keys=False).rstrip("\n")
    environment.filters["b64encode"] = lambda value: base64.b64encode(str(value).encode()).decode()
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=4096)
def _template(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


@lru_cache(maxsize=4096)
def _expression(text: str) -> Any:
    return _ENVIRONMENT.compile_expression(text, undefined_to_none=False)


@lru_cache(maxsize=1024)
def _file(path: str, _mtime_ns: int) -> jinja2.Template:
    text = Path(path).read_text(encoding="utf-8")
    return _ENVIRONMENT.template_class.from_code(
        _ENVIRONMENT, _ENVIRONMENT.compile(text, name=path, filename=path), _ENVIRONMENT.globals
    )


def render_file(path: Path, variables: Mapping[str, Any]) -> str:
    """The template file with `variables`. Raises jinja2.TemplateError."""
    return _file(str(path), path.stat().st_mtime_ns).render(variables)


def render_value(value: Any, variables: Mapping[str, Any]) -> Any:
    """`value` with every `{{ … }}` replaced, in mappings and lists too.

    A string that is one expression as a whole keeps the expression's type. Raises jinja2.TemplateError.
    """
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        whole = _WHOLE.fullmatch(value.strip())
        return evaluate(whole.group(1), variables) if whole else _template(value).render(variables)
    if isinstance(value, dict):
        return {render_value(key, variables): render_value(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [render_value(each, variables) for each in value]
    return value


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """A bare expression, as in `when`. Raises jinja2.TemplateError, also for an undefined result."""
    value = _expression(expression.strip())(variables)
    if isinstance(value, jinja2.Undefined):
        raise jinja2.UndefinedError(f"'{expression.strip()}' is undefined")
    return value
