"""Jinja2 for arguments, conditions and template files. A name that is not defined is an error, never an empty string."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

import jinja2
import yaml
from jinja2 import nodes
from jinja2.environment import TemplateExpression
from jinja2.parser import Parser
from platformdirs import user_cache_path

from provisioner.playbook.codes import Codes

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


@cache
def _codes() -> Codes:
    # Jinja2 folds constants when it compiles, so the filters above are part of what a code depends on.
    flavour = f"{jinja2.__version__} {Path(__file__).stat().st_mtime_ns}"
    return Codes(user_cache_path("provision") / "templates.codes", flavour)


def keep_compiled() -> None:
    """Keeps what this run compiled for the next one."""
    _codes().save()


def _loaded(code: CodeType) -> jinja2.Template:
    return _ENVIRONMENT.template_class.from_code(_ENVIRONMENT, code, _ENVIRONMENT.globals)


@lru_cache(maxsize=4096)
def _template(text: str) -> jinja2.Template:
    return _loaded(_codes().code("text", text, lambda: _ENVIRONMENT.compile(text)))


@lru_cache(maxsize=4096)
def _expression(text: str) -> TemplateExpression:
    code = _codes().code("expression", text, lambda: _ENVIRONMENT.compile(_assignment(text)))
    return TemplateExpression(_loaded(code), undefined_to_none=False)


def _assignment(text: str) -> nodes.Template:
    """What Environment.compile_expression compiles, which gives no code away."""
    parser = Parser(_ENVIRONMENT, text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        raise jinja2.TemplateSyntaxError("chunk after expression", parser.stream.current.lineno)
    expression.set_environment(_ENVIRONMENT)
    return nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)], lineno=1)


@lru_cache(maxsize=1024)
def _file(path: str, _mtime_ns: int) -> jinja2.Template:
    text = Path(path).read_text(encoding="utf-8")
    return _loaded(
        _codes().code(f"file {path}", text, lambda: _ENVIRONMENT.compile(text, name=path, filename=path))
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
