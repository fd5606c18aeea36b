"""The project of a Harbor that images go to: made before the first of them, and asked when one is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus

from provisioner.engine.events import Emit, Note, silent
from provisioner.errors import ProvisionError
from provisioner.registry import refusals
from provisioner.registry.harbor import Harbor
from provisioner.registry.transport import RefusedError


class HarborProject:
    """`path` is the place of images in the registry, whose first part is the project. What the account may not find
    out about it is said to `emit`, and stops nothing: the push that follows shows whether it is as it has to be."""

    def __init__(
        self, connect: Callable[[], Harbor], path: str, public: bool | None = None, emit: Emit = silent
    ) -> None:
        self._connect = connect
        self.name = path.partition("/")[0]
        self._public = public
        self._emit = emit
        self._lock = threading.Lock()
        self._is_there = False

    def ensure(self) -> bool:
        """Once: make it unless it is there; whether something changed. Raises as Harbor.ensure_project."""
        with self._lock:
            if self._is_there:
                return False
            with self._connect() as harbor:
                harbor.info()  # another registry is told as that
                ensured = harbor.ensure_project(self.name, self._public)
            self._is_there = True
            if ensured.unknown:
                hint = "an account that may read the project sees it: a member, or an administrator"
                self._emit(Note(message=ensured.unknown, level="warning", hint=hint))
            return ensured.changed

    def explained(self, refusal: RefusedError) -> ProvisionError:
        """The refusal of a push with its real cause, if Harbor tells one."""
        if refusal.status == HTTPStatus.PRECONDITION_FAILED:
            return refusal  # a policy of the project, which it names
        told = refusals.by_words(refusal.hint)
        try:
            with self._connect() as harbor:
                cause, hint = harbor.cause(self.name, told=told)
        except ProvisionError:
            return refusal  # it was no Harbor, or says even less
        return ProvisionError(f"{cause}: {refusal.reason}", hint) if cause else refusal
