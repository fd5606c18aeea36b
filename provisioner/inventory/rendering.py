"""A host's variables as others see them: templates rendered, each when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.errors import InputError
from provisioner.inventory.graph import Path, Variable
from provisioner.inventory.spelling import kind_of, said


def is_template(value: Any) -> bool:
    """Whether a value, or anything in it, is a Jinja template."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(is_template(key) or is_template(item) for key, item in value.items())
    return isinstance(value, list) and any(is_template(item) for item in value)


class RenderedVariables(Mapping[str, Any]):
    """Variables by name. Reading one raises InputError, at its definition's place, when its template fails.

    A broken variable that nobody reads is no error, as in Ansible. `magic` gives the names that templates may
    use beside the variables (inventory_hostname, groups, hostvars …); they are not items of the mapping.
    """

    def __init__(self, variables: Mapping[str, Variable], magic: Mapping[str, Any]) -> None:
        self._variables = variables
        self._magic = magic
        self._rendered: dict[str, Any] = {}
        self._open: list[str] = []

    def __getitem__(self, name: str) -> Any:
        if name not in self._rendered:
            self._rendered[name] = self._render(name, self._variables[name])
        return self._rendered[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    @property
    def scope(self) -> Mapping[str, Any]:
        """The variables and the magic names, for templates of others; still rendered one by one."""
        return _Scope(self, self._magic)

    def _render(self, name: str, variable: Variable) -> Any:
        if not is_template(variable.value):
            return variable.value
        if name in self._open:
            chain = " → ".join([*self._open[self._open.index(name) :], name])
            raise InputError([variable.problem((), f"the variable refers to itself: {chain}")])
        self._open.append(name)
        try:
            return self._value(variable, (), variable.value)
        finally:
            self._open.pop()

    def _value(self, variable: Variable, path: Path, value: Any) -> Any:
        if isinstance(value, dict):
            rendered = {}
            for key, item in value.items():
                meant = self._value(variable, (*path, key), key)
                if isinstance(meant, dict | list):
                    reason = f"a key cannot be {kind_of(meant)}, and {said(key)} gives one"
                    raise InputError([variable.problem((*path, key), reason, key=True)])
                rendered[meant] = self._value(variable, (*path, key), item)
            return rendered
        if isinstance(value, list):
            return [self._value(variable, (*path, index), item) for index, item in enumerate(value)]
        return self._text(variable, path, value) if is_template(value) else value

    def _text(self, variable: Variable, path: Path, text: str) -> Any:
        from provisioner.inventory.templatefaults import TemplateFaultError
        from provisioner.inventory.templating import render_text

        try:
            return render_text(text, self.scope)
        except TemplateFaultError as fault:
            reason = f"the template fails: {fault.reason}"
            raise InputError([variable.problem(path, reason, fault.hint)]) from None


class _Scope(Mapping[str, Any]):
    def __init__(self, variables: RenderedVariables, magic: Mapping[str, Any]) -> None:
        self._variables = variables
        self._magic = magic

    def __getitem__(self, name: str) -> Any:
        return self._magic[name] if name in self._magic else self._variables[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._magic
        yield from (name for name in self._variables if name not in self._magic)

    def __len__(self) -> int:
        return len(self._variables.keys() | self._magic.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._magic or name in self._variables
