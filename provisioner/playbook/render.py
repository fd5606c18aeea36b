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
from jinja2.lexer import describe_token
from jinja2.parser import Parser
from platformdirs import user_cache_path

from provisioner.inventory.spelling import kind_of, said
from provisioner.inventory.templateculprit import FAULTS, NO_OTHERS, Unknown
from provisioner.inventory.templatefaults import FILE, Source, TemplateFaultError, explain, undecoded
from provisioner.playbook.codes import Codes
from provisioner.playbook.secretive import SecretiveEnvironment

_WHOLE = re.compile(r"\{\{((?:(?!\{\{|\}\}).)*)\}\}", re.DOTALL)


def _to_json(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except TypeError:
        _check_defined(value)
        raise


def _to_yaml(value: Any) -> str:
    try:
        return yaml.safe_dump(value, sort_keys=False).rstrip("\n")
    except yaml.YAMLError:
        _check_defined(value)
        raise


def _check_defined(value: Any) -> None:
    """Raises UnknownError for what is not, wherever in the value it stands."""
    if isinstance(value, jinja2.Undefined):
        str(value)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_defined(each)


def _environment(*, reveals: bool) -> jinja2.Environment:
    environment = SecretiveEnvironment(  # the output is configuration, not HTML
        undefined=Unknown, loader=NO_OTHERS, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.reveals = reveals
    environment.finalize = lambda value: environment.opened(value, "a value")
    environment.filters["to_json"] = _to_json
    environment.filters["to_yaml"] = _to_yaml
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
        found = describe_token(parser.stream.current)
        message = f"expected token 'end of template', got '{found}'"
        raise jinja2.TemplateSyntaxError(message, parser.stream.current.lineno)
    expression.set_environment(_ENVIRONMENT)
    return nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)], lineno=1)


@lru_cache(maxsize=1024)
def _file(path: str, _mtime_ns: int, reveals: bool) -> jinja2.Template:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise undecoded(fault) from None
    code = _codes().code(f"file {path}", text, lambda: _ENVIRONMENT.compile(text, name=path, filename=path))
    return _loaded(code, reveals)


def render_file(path: Path, variables: Mapping[str, Any], *, reveals: bool = False) -> str:
    """The template file with `variables`; with `reveals` those of them that are secrets, too.

    Raises TemplateFaultError; InputError when a secret's source fails; OSError.
    """
    try:
        return _file(str(path), path.stat().st_mtime_ns, reveals).render(variables)
    except FAULTS as fault:
        text = path.read_text(encoding="utf-8")
        raise explain(fault, _source(text, reveals, file=str(path)), variables) from None


def _source(text: str, reveals: bool, *, bare: bool = False, file: str = FILE) -> Source:
    return Source(_REVEALING if reveals else _ENVIRONMENT, text, bare, file)


def render_value(value: Any, variables: Mapping[str, Any], *, reveals: bool = False) -> Any:
    """`value` with every `{{ … }}` replaced, in mappings and lists too.

    A string that is one expression as a whole keeps the expression's type. Raises TemplateFaultError, InputError.
    """
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        whole = _WHOLE.fullmatch(value.strip())
        if whole:
            return evaluate(whole.group(1), variables, reveals=reveals)
        try:
            return _template(value, reveals).render(variables)
        except FAULTS as fault:
            raise explain(fault, _source(value, reveals), variables) from None
    if isinstance(value, dict):
        pairs = ((_key(key, variables), each) for key, each in value.items())
        return {key: render_value(each, variables, reveals=reveals) for key, each in pairs}
    if isinstance(value, list):
        return [render_value(each, variables, reveals=reveals) for each in value]
    return value


def _key(key: Any, variables: Mapping[str, Any]) -> Any:
    rendered = render_value(key, variables)
    if isinstance(rendered, list | dict):
        raise TemplateFaultError(f"a key cannot be {kind_of(rendered)}, and {said(key)} gives one")
    return rendered


def evaluate(expression: str, variables: Mapping[str, Any], *, reveals: bool = False) -> Any:
    """A bare expression, as in `when`. Raises as `render_value`, also for an undefined result."""
    text = expression.strip()
    try:
        value = _expression(text, reveals)(variables)
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises, with the name
    except FAULTS as fault:
        raise explain(fault, _source(text, reveals, bare=True), variables) from None
    return value


def failing(value: Any, variables: Mapping[str, Any], *, reveals: bool = False) -> tuple[str | int, ...]:
    """The way to what of `value`, which `render_value` refuses, is to blame."""
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for step, each in pairs:
        try:
            render_value(each, variables, reveals=reveals)
        except TemplateFaultError:
            return (step, *failing(each, variables, reveals=reveals))
    return ()
