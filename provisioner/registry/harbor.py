"""Harbor's own API, v2.0: projects, robot accounts, quotas, and why a push was refused.

Paths, bodies and answers are those of the published description (goharbor/harbor, api/v2.0/swagger.yaml, 2.15).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.inventory.secrets import Secret
from provisioner.registry import refusals
from provisioner.registry.server import RegistryServer
from provisioner.registry.transport import Answer, RefusedError, Request, TransientError, Transport

_API = "/api/v2.0"
_SKEW_SECONDS = 30.0
_BY_NAME = {"X-Is-Resource-Name": "true"}
"""A project that is called 123 is not the one with this number."""


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
class Robot:
    """`name` is the whole one, as logins take it. Harbor shows the secret this once."""

    name: str
    secret: Secret


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
        answer = self._retry("GET", "/systeminfo", 200)
        document = _parsed(answer)
        return Info(
            str(document.get("harbor_version") or ""),
            str(document.get("project_creation_restriction") or ""),
            document.get("read_only"),
            refusals.clock_skew(answer.headers),
        )

    def ensure_project(self, project: str, public: bool | None = None) -> bool:
        """Make the project unless it is there; whether something changed. `public` None: private, or as it is."""
        if self._exists(project):
            return public is not None and self._publish(project, public)
        wanted = "true" if public else "false"
        # Texts, not booleans: so the description has all metadata.
        body = {"project_name": project, "metadata": {"public": wanted}}
        try:
            answer = self._retry("POST", "/projects", 201, 409, body=body)
        except RefusedError as refusal:
            raise self._no_project(project, refusal) from refusal
        # 409: another run was faster, or the answer to our first attempt was lost.
        return answer.status == 201

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

    def cause(self, project: str) -> tuple[str, str]:
        """Why a push to the project may have been refused, and what mends it; two empty texts if nothing is seen."""
        info = self.info()
        if info.read_only:
            return "Harbor is in read-only mode", "an administrator ends it: Configuration, System Settings"
        if not self._exists(project):
            return f"Harbor has no project {project}", "`--create-project private`, or registry.kind: harbor"
        room = self.quota(project).room
        if room is not None and room < 1 << 20:
            return (
                f"the quota of the project {project} is used up",
                "an administrator raises it: Project Quotas",
            )
        if abs(info.skew) > _SKEW_SECONDS:
            return (
                f"the clocks differ by {abs(info.skew):.0f} s: tokens do not hold",
                "let both follow a time server",
            )
        return "", ""

    def _exists(self, project: str) -> bool:
        return (
            self._retry("HEAD", f"/projects?project_name={quote(project, safe='')}", 200, 404).status == 200
        )

    def _publish(self, project: str, public: bool) -> bool:
        path, wanted = f"/projects/{quote(project, safe='')}", "true" if public else "false"
        metadata = _parsed(self._retry("GET", path, 200, headers=_BY_NAME)).get("metadata") or {}
        if metadata.get("public", "false") == wanted:
            return False
        self._retry("PUT", path, 200, headers=_BY_NAME, body={"metadata": {"public": wanted}})
        return True

    def _no_project(self, project: str, refusal: RefusedError) -> ProvisionError:
        reason = f"the project {project} cannot be made: {refusal.reason}"
        if refusal.status == 401:
            return ProvisionError(reason, "Harbor wants another user or password")
        if refusal.status == 403:
            who = "an administrator makes it, or lets everyone make projects (Configuration, System Settings)"
            hint = (
                who
                if self.info().creation != "everyone"
                else "this account may make no project: robots may not"
            )
            return ProvisionError(reason, refusal.hint if "read-only" in refusal.hint else hint)
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
