"""Jinja2 environments that know secrets: one hands their values out, the other refuses. No mask gets into a file."""

from __future__ import annotations

from typing import Any

import jinja2

from provisioner.inventory.secrets import Secret


class SecretiveEnvironment(jinja2.Environment):
    """`reveals`: whether a secret that is used gives its value or is an error."""

    reveals = False

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.opened(super().getattr(obj, attribute), attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self.opened(super().getitem(obj, argument), argument)

    def opened(self, value: Any, name: object) -> Any:
        """`value`, or that of a secret. Raises jinja2.TemplateRuntimeError, InputError when its source fails."""
        if not isinstance(value, Secret):
            return value
        if not self.reveals:
            reason = f"'{name}' is a secret: only `copy` and `template` with `secret: true` take it"
            raise jinja2.TemplateRuntimeError(reason)
        return value.reveal()


class _Context(jinja2.runtime.Context):
    def resolve_or_missing(self, key: str) -> Any:
        value = super().resolve_or_missing(key)
        return (
            self.environment.opened(value, key)
            if isinstance(self.environment, SecretiveEnvironment)
            else value
        )


SecretiveEnvironment.context_class = _Context
