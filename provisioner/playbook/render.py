"""Jinja2 for arguments, conditions and template files. A name that is not defined is an error, never an empty text."""

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
from provisioner.playbook.secretive import SecretiveEnvironment

_WHOLE = re.compile(r"\{\{((?:(?!\{\{|\}\}).)*)\}\}", re.DOTALL)


def _environment(*, reveals: bool) -> jinja2.Environment:
    environment = SecretiveEnvironment(  # the output is configuration, not HTML
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.reveals = reveals
    environment.finalize = lambda value: environment.opened(value, "a value")
    environment.filters["to_json"] = lambda value: json.dumps(value, sort_keys=True)
    environment.filters["to_yaml"] = lambda value: yaml.safe_dump(value, sort_keys=False).rstrip("\n")
    environment.filters["b64encode"] = lambda value: base64.b64encode(str(value).encode()).decode()
    return environment


_ENVIRONMENT = _environment(reveals=False)
_REVEALING = _environment(reveals=True)


@cache
def _codes() -> Codes:
    # Jinja2 folds constants when it compiles, so the filters above are part of what a code depends on.
    flavour = f"{jinja2.__version__} {Path(__file__).stat().st_mtime_ns}"
    return Codes(user_cache_path("provision") / "templates.codes", flavour)


def keep_compiled() -> None:
    """Keeps what this run compiled for the next one."""
    _codes().save()


def _loaded(code: CodeType, reveals: bool) -> jinja2.Template:
    environment = _REVEALING if reveals else _ENVIRONMENT
    return environment.template_class.from_code(environment, code, environment.globals)


@lru_cache(maxsize=4096)
def _template(text: str, reveals: bool) -> jinja2.Template:
    return _loaded(_codes().code("text", text, lambda: _ENVIRONMENT.compile(text)), reveals)


@lru_cache(maxsize=4096)
def _expression(text: str, reveals: bool) -> TemplateExpression:
    code = _codes().code("expression", text, lambda: _ENVIRONMENT.compile(_assignment(text)))
    return TemplateExpression(_loaded(code, reveals), undefined_to_none=False)


def _assignment(text: str) -> nodes.Template:
    """What Environment.compile_expression compiles, which gives no code away."""
    parser = Parser(_ENVIRONMENT, text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        raise jinja2.TemplateSyntaxError("chunk after expression", parser.stream.current.lineno)
    expression.set_environment(_ENVIRONMENT)
    return nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)], lineno=1)


@lru_cache(maxsize=1024)
def _file(path: str, _mtime_ns: int, reveals: bool) -> jinja2.Template:
    text = Path(path).read_text(encoding="utf-8")
    code = _codes().code(f"file {path}", text, lambda: _ENVIRONMENT.compile(text, name=path, filename=path))
    return _loaded(code, reveals)


def render_file(path: Path, variables: Mapping[str, Any], *, reveals: bool = False) -> str:
    """The template file with `variables`; with `reveals` those of them that are secrets, too.

    Raises jinja2.TemplateError, and what the template's own expressions raise.
    """
    return _file(str(path), path.stat().st_mtime_ns, reveals).render(variables)


def render_value(value: Any, variables: Mapping[str, Any], *, reveals: bool = False) -> Any:
    """`value` with every `{{ … }}` replaced, in mappings and lists too.

    A string that is one expression as a whole keeps the expression's type. Raises as `render_file`.
    """
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        whole = _WHOLE.fullmatch(value.strip())
        if whole:
            return evaluate(whole.group(1), variables, reveals=reveals)
        return _template(value, reveals).render(variables)
    if isinstance(value, dict):
        pairs = ((render_value(key, variables), each) for key, each in value.items())
        return {key: render_value(each, variables, reveals=reveals) for key, each in pairs}
    if isinstance(value, list):
        return [render_value(each, variables, reveals=reveals) for each in value]
    return value


def evaluate(expression: str, variables: Mapping[str, Any], *, reveals: bool = False) -> Any:
    """A bare expression, as in `when`. Raises as `render_file`, also for an undefined result."""
    value = _expression(expression.strip(), reveals)(variables)
    if isinstance(value, jinja2.Undefined):
        raise jinja2.UndefinedError(f"'{expression.strip()}' is undefined")
    return value
