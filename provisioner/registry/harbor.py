"""Harbor's own API, v2.0: projects, robot accounts, quotas, and why a push was refused.

Paths, bodies and answers are those of the published description (goharbor/harbor, api/v2.0/swagger.yaml, 2.15). Who may
ask what is not in it, but in Harbor's source (src/server/v2.0/handler): an account without the right to read a project,
as a robot that may only pull and push, gets 403 for its settings and its summary, and may for whether it is there.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.inventory.secrets import Secret
from provisioner.registry import refusals
from provisioner.registry.server import RegistryServer
from provisioner.registry.transport import Answer, RefusedError, Request, TransientError, Transport

T = TypeVar("T")

_API = "/api/v2.0"
_SKEW_SECONDS = 30.0
_BY_NAME = {"X-Is-Resource-Name": "true"}
"""A project that is called 123 is not the one with this number."""
_FORBIDDEN = frozenset((401, 403))
_PUSH_NEEDS = ("core", "database", "redis", "registry")
"""A scanner or a portal that is ill refuses nobody's push. Names as in Harbor's source (src/controller/health)."""


@dataclass(frozen=True)
class Info:
    """`creation` is who may make projects: everyone or adminonly; "" and None where Harbor does not say."""

    version: str
    creation: str
    read_only: bool | None
    skew: float


@dataclass(frozen=True)
class Quota:
    """Bytes; `hard` None means no limit."""

    hard: int | None
    used: int

    @property
    def room(self) -> int | None:
        return None if self.hard is None else max(0, self.hard - self.used)


@dataclass(frozen=True)
class Ensured:
    """`unknown` says what this account could not find out about the project; "" when all is as wanted."""

    changed: bool
    unknown: str = ""


@dataclass(frozen=True)
class Robot:
    """`name` is the whole one, as logins take it. Harbor shows the secret this once."""

    name: str
    secret: Secret


_NO_SUCH_PATH = frozenset((HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED))
"""What other registries say to a path of Harbor's."""


class NoHarborError(ProvisionError):
    """Another registry answers."""

    def __init__(self, authority: str) -> None:
        super().__init__(f"{authority} is no Harbor", "in the spec: registry.kind: distribution, or none")


class Harbor:
    """One Harbor over TLS, as the registry's client takes it. All methods raise ProvisionError for a refusal,
    UnreachableError when nothing answers."""

    def __init__(self, server: RegistryServer) -> None:
        self._credentials = server.credentials
        # It asks for no token: each request says itself who we are.
        self._transport = Transport(server, None)

    def __enter__(self) -> Harbor:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def unhealthy(self) -> dict[str, str]:
        """Components that are not healthy, with what they say."""
        document = _parsed(self._retry("GET", "/health", 200))
        return {
            str(each["name"]): str(each.get("error") or each["status"])
            for each in document.get("components", [])
            if each.get("status") != "healthy"
        }

    def info(self) -> Info:
        """Raises NoHarborError, too."""
        try:
            answer = self._retry("GET", "/systeminfo", 200)
        except RefusedError as refusal:
            # Whatever else it refuses, the request in question tells better.
            if refusal.status in _NO_SUCH_PATH:
                raise NoHarborError(self._transport.authority) from refusal
            raise
        document = _parsed(answer)
        return Info(
            str(document.get("harbor_version") or ""),
            str(document.get("project_creation_restriction") or ""),
            document.get("read_only"),
            refusals.clock_skew(answer.headers),
        )

    def ensure_project(self, project: str, public: bool | None = None) -> Ensured:
        """Make the project unless it is there. `public` None: private, or as it is. What this account may not know is
        passed over: it may still be one that may push."""
        there = self._exists(project)
        if not there:
            made = self._make(project, public, unseen=there is None)
            if made is not None:
                return made
        return Ensured(False) if public is None else self._publish(project, public)

    def quota(self, project: str) -> Quota:
        answer = self._retry("GET", f"/projects/{quote(project, safe='')}/summary", 200, headers=_BY_NAME)
        told = _parsed(answer).get("quota") or {}
        hard, used = (int((told.get(name) or {}).get("storage", -1)) for name in ("hard", "used"))
        return Quota(hard if hard >= 0 else None, max(0, used))

    def robot(self, project: str, name: str, days: int = -1, description: str = "") -> Robot:
        """An account that may pull from the project and push to it, and nothing else; `days` -1: it does not expire.

        Asked once: a second attempt could hide the secret of a first.
        """
        access = [{"resource": "repository", "action": action} for action in ("pull", "push")]
        body = {
            "name": name,
            "description": description,
            "level": "project",
            "disable": False,
            "duration": days,
            "permissions": [{"kind": "project", "namespace": project, "access": access}],
        }
        try:
            document = _parsed(self._transport.send(self._request("POST", "/robots", (201,), {}, body)))
        except TransientError as error:
            hint = (
                f"look in Harbor whether {project} has the robot account {name} now: its secret is lost then"
            )
            raise UnreachableError(
                f"the answer about the robot account did not come: {error}", hint
            ) from error
        except RefusedError as refusal:
            if refusal.status != 409:
                raise
            hint = "its secret cannot be read again: take another name, or delete it in Harbor"
            raise ProvisionError(f"{project} has a robot account {name} already", hint) from refusal
        return Robot(str(document["name"]), Secret.text(str(document["secret"])))

    def cause(self, project: str, *, told: bool = False) -> tuple[str, str]:
        """Why a push to the project may have been refused, and what mends it; two empty texts if nothing is seen.

        Each question by itself: this account may ask one, and not another. `told`: the refusal names a cause itself,
        which what would only be a guess does not outdo.
        """
        info = _allowed(self.info)
        if info and info.read_only:
            return "Harbor is in read-only mode", "an administrator ends it: Configuration, System Settings"
        if _allowed(lambda: self._exists(project)) is False:
            return f"Harbor has no project {project}", "`--create-project private`, or registry.kind: harbor"
        quota = _allowed(lambda: self.quota(project))
        if quota and quota.room is not None and quota.room < 1 << 20:
            return (
                f"the quota of the project {project} is used up",
                "an administrator raises it: Project Quotas",
            )
        if told:
            return "", ""
        if info and abs(info.skew) > _SKEW_SECONDS:
            return (
                f"the clocks differ by {abs(info.skew):.0f} s: tokens do not hold",
                "let both follow a time server",
            )
        ill = _allowed(self.unhealthy) or {}
        said = ", ".join(f"{name} ({ill[name]})" for name in _PUSH_NEEDS if name in ill)
        if said:
            return f"parts of Harbor are not healthy: {said}", "an administrator looks after them"
        return "", ""

    def _exists(self, project: str) -> bool | None:
        """None where this account may not know."""
        path = f"/projects?project_name={quote(project, safe='')}"
        status = self._retry("HEAD", path, 200, 403, 404).status
        return None if status == 403 else status == 200

    def _make(self, project: str, public: bool | None, *, unseen: bool) -> Ensured | None:
        """None when it is there already. `unseen`: that was not known."""
        # Texts, not booleans: so the description has all metadata.
        body = {"project_name": project, "metadata": {"public": _text(bool(public))}}
        try:
            answer = self._retry("POST", "/projects", 201, 409, body=body)
        except RefusedError as refusal:
            if unseen and refusal.status == 403 and not _is_read_only(refusal):
                return Ensured(False, f"whether there is a project {project} is not known to this account")
            raise self._no_project(project, refusal) from refusal
        # 409: another run was faster, or the answer to our first attempt was lost.
        return Ensured(True) if answer.status == 201 else None

    def _publish(self, project: str, public: bool) -> Ensured:
        path, wanted = f"/projects/{quote(project, safe='')}", _text(public)
        answer = self._retry("GET", path, 200, 403, headers=_BY_NAME)
        if answer.status == 403:
            said = f"whether the project {project} is public is not known to this account"
            return Ensured(False, f"{said}; it is to be {'public' if public else 'private'}")
        metadata = _parsed(answer).get("metadata") or {}
        if metadata.get("public", "false") == wanted:
            return Ensured(False)
        try:
            self._retry("PUT", path, 200, headers=_BY_NAME, body={"metadata": {"public": wanted}})
        except RefusedError as refusal:
            raise _unchanged(project, public, refusal) from refusal
        return Ensured(True)

    def _no_project(self, project: str, refusal: RefusedError) -> ProvisionError:
        reason = f"the project {project} cannot be made: {refusal.reason}"
        if refusal.status == 401:
            return ProvisionError(reason, "Harbor wants another user or password")
        if refusal.status == 403:
            info = _allowed(self.info)
            who = "an administrator makes it, or lets everyone make projects (Configuration, System Settings)"
            hint = (
                who
                if info is None or info.creation != "everyone"
                else "this account may make no project: robots may not"
            )
            return ProvisionError(reason, refusal.hint if _is_read_only(refusal) else hint)
        if refusal.status == 400:
            return ProvisionError(
                reason, "a project's name: small letters, digits, and . _ - between them; no slash"
            )
        return ProvisionError(reason, refusal.hint)

    def _retry(
        self,
        method: str,
        path: str,
        *expected: int,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        return self._transport.retry(self._request(method, path, expected, headers or {}, body))

    def _request(
        self,
        method: str,
        path: str,
        expected: tuple[int, ...],
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
    ) -> Request:
        own = {"Accept": "application/json", "X-Request-Id": uuid.uuid4().hex, **headers}
        if self._credentials:
            own["Authorization"] = self._credentials.basic()
        data = None
        if body is not None:
            own["Content-Type"], data = "application/json", json.dumps(body).encode()
        return Request(method, _API + path, frozenset(expected), (), own, data)


def _allowed(ask: Callable[[], T]) -> T | None:
    """None where this account may not ask."""
    try:
        return ask()
    except RefusedError as refusal:
        if refusal.status in _FORBIDDEN:
            return None
        raise


def _unchanged(project: str, public: bool, refusal: RefusedError) -> ProvisionError:
    now, wanted = ("private", "public") if public else ("public", "private")
    reason = f"the project {project} is {now}, not {wanted}, and cannot be changed: {refusal.reason}"
    if refusal.status == 403 and not _is_read_only(refusal):
        return ProvisionError(reason, "an administrator of the project changes it: its Configuration")
    return ProvisionError(reason, refusal.hint)


def _is_read_only(refusal: RefusedError) -> bool:
    return "read-only" in refusal.hint


def _text(flag: bool) -> str:
    return "true" if flag else "false"


def _parsed(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ProvisionError(
            "what answers is no Harbor: it sends no JSON object", "registry.kind: distribution"
        )
    return document
