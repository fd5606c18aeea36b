"""A Harbor as far as its API's description goes, with the registry of the tests behind it: checks every request.

There is no Harbor to run here. What it knows of the description was written by hand after the published one
(api/v2.0/swagger.yaml of goharbor/harbor): methods, paths, queries, headers, the bodies' schemata and the statuses.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from registryserver import Handler, State

_REQUEST_ID = re.compile(r".+")
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_TEXT, _FLAG, _NUMBER = str, bool, int


@dataclass(frozen=True)
class Operation:
    """`query` and `body` are what may be there; `required` what has to be. `named`: takes X-Is-Resource-Name."""

    method: str
    path: str
    name: str
    query: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    body: dict[str, Any] | None = None
    named: bool = False
    anonymous: bool = False


_METADATA = dict.fromkeys(
    (
        "public",
        "enable_content_trust",
        "enable_content_trust_cosign",
        "prevent_vul",
        "severity",
        "auto_scan",
        "auto_sbom_generation",
        "reuse_sys_cve_allowlist",
        "retention_id",
        "proxy_speed_kb",
    ),
    _TEXT,
)
_PROJECT: dict[str, Any] = {
    "project_name": _TEXT,
    "metadata": _METADATA,
    "public": _FLAG,
    "storage_limit": _NUMBER,
    "registry_id": _NUMBER,
}
_ROBOT: dict[str, Any] = {
    "name": _TEXT,
    "description": _TEXT,
    "secret": _TEXT,
    "level": _TEXT,
    "disable": _FLAG,
    "duration": _NUMBER,
    "permissions": [
        {"kind": _TEXT, "namespace": _TEXT, "access": [{"resource": _TEXT, "action": _TEXT, "effect": _TEXT}]}
    ],
}
_PROJECT_PATH = r"/projects/(?P<project>[^/]+)"
OPERATIONS = (
    Operation("GET", r"/health", "health", anonymous=True),
    Operation("GET", r"/systeminfo", "systeminfo", anonymous=True),
    Operation("HEAD", r"/projects", "head", frozenset({"project_name"}), frozenset({"project_name"})),
    Operation("POST", r"/projects", "create", body=_PROJECT),
    Operation("GET", _PROJECT_PATH, "project", named=True),
    Operation("PUT", _PROJECT_PATH, "update", body=_PROJECT, named=True),
    Operation("GET", _PROJECT_PATH + r"/summary", "summary", named=True),
    Operation("POST", r"/robots", "robots", body=_ROBOT),
)


@dataclass
class HarborState(State):
    """`projects` by name: whether public. `accounts`: passwords by user; only `admin` may do all."""

    projects: dict[str, bool] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=lambda: {"admin": "secret", "user": "word"})
    robots: list[dict[str, Any]] = field(default_factory=list)
    restriction: str = "adminonly"
    read_only: bool = False
    hard: int = -1
    used: int = 0
    components: dict[str, str] = field(default_factory=lambda: {"core": "healthy", "database": "healthy"})
    date: str = ""


class HarborHandler(Handler):
    state: HarborState

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.state.date or super().date_time_string(timestamp)

    def handle_any(self) -> None:
        """The registry's paths are the registry's."""
        parts = urlsplit(self.path)
        if not parts.path.startswith("/api/"):
            return super().handle_any()
        self.state.requests.append((self.command, self.path))
        for fault in self.state.faults[:1]:
            if fault(self):
                return self.used_up(fault)
        for operation in OPERATIONS:
            match = re.fullmatch("/api/v2.0" + operation.path, parts.path)
            if match and operation.method == self.command:
                return self.operate(operation, {k: unquote(v) for k, v in match.groupdict().items()})
        return self.broken("the description has no such operation")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def operate(self, operation: Operation, where: dict[str, str]) -> None:
        data, query = self.body(), parse_qs(urlsplit(self.path).query)
        fault = self.fault(operation, set(query), data)
        if fault:
            return self.broken(fault)
        user = self.user()
        if user is None and not operation.anonymous:
            return self.refuse(401, "UNAUTHORIZED", "unauthorized")
        if self.state.read_only and self.command != "GET" and self.command != "HEAD":
            return self.refuse(
                403, "DENIED", "The system is in read only mode. Any modification is prohibited."
            )
        document = json.loads(data) if data else {}
        getattr(self, f"do_{operation.name}")(user, document, query=query, **where)
        return None

    def fault(self, operation: Operation, query: set[str], data: bytes) -> str:
        """What the description does not allow."""
        if not _REQUEST_ID.fullmatch(self.headers.get("X-Request-Id", "x")):
            return "X-Request-Id is empty"
        if query - operation.query or operation.required - query:
            return f"the query {sorted(query)} is not {sorted(operation.query)}"
        if "X-Is-Resource-Name" in self.headers and not operation.named:
            return "X-Is-Resource-Name is not of this operation"
        if operation.named and self.headers.get("X-Is-Resource-Name") != "true":
            return "a name that could be a number is not said to be one"
        if operation.body is None:
            return "a body where there is none" if data else ""
        if self.headers.get("Content-Type") != "application/json":
            return "Content-Type is not application/json"
        return unfit(json.loads(data), operation.body)

    def user(self) -> str | None:
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        name, _, password = base64.b64decode(rest).decode().partition(":")
        return name if self.state.accounts.get(name) == password else None

    def value(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_health(self, _user: str | None, _body: object, **_: object) -> None:
        parts = [{"name": name, "status": status} for name, status in self.state.components.items()]
        well = all(each["status"] == "healthy" for each in parts)
        self.value({"status": "healthy" if well else "unhealthy", "components": parts})

    def do_systeminfo(self, user: str | None, _body: object, **_: object) -> None:
        known = {"harbor_version": "v2.15.2", "read_only": self.state.read_only} if user else {}
        self.value({"auth_mode": "db_auth", "project_creation_restriction": self.state.restriction, **known})

    def do_head(self, _user: str, _body: object, query: dict[str, list[str]]) -> None:
        self.answer(200 if query["project_name"][0] in self.state.projects else 404)

    def do_create(self, user: str, body: dict[str, Any], **_: object) -> None:
        name = body.get("project_name", "")
        if not _NAME.fullmatch(name):
            return self.refuse(400, "BAD_REQUEST", f"project name {name} is not in lower case")
        if user != "admin" and self.state.restriction == "adminonly":
            return self.refuse(403, "FORBIDDEN", "Only system admin can create project")
        if name in self.state.projects:
            return self.refuse(409, "CONFLICT", f"The project named {name} already exists")
        self.state.projects[name] = body.get("metadata", {}).get("public") == "true"
        return self.answer(201, b"", Location=f"/api/v2.0/projects/{len(self.state.projects)}")

    def do_project(self, _user: str, _body: object, project: str, **_: object) -> None:
        if project not in self.state.projects:
            return self.refuse(404, "NOT_FOUND", f"project {project} not found")
        return self.value(
            {"name": project, "metadata": {"public": str(self.state.projects[project]).lower()}}
        )

    def do_update(self, _user: str, body: dict[str, Any], project: str, **_: object) -> None:
        self.state.projects[project] = body["metadata"]["public"] == "true"
        self.answer(200)

    def do_summary(self, _user: str, _body: object, project: str, **_: object) -> None:
        if project not in self.state.projects:
            return self.refuse(403, "FORBIDDEN", "forbidden")
        return self.value(
            {"quota": {"hard": {"storage": self.state.hard}, "used": {"storage": self.state.used}}}
        )

    def do_robots(self, _user: str, body: dict[str, Any], **_: object) -> None:
        project = body["permissions"][0]["namespace"]
        if project not in self.state.projects:
            return self.refuse(404, "NOT_FOUND", f"project {project} not found")
        name = f"robot${project}+{body['name']}"
        if any(each["full"] == name for each in self.state.robots):
            return self.refuse(409, "CONFLICT", "robot account exists")
        self.state.robots.append({**body, "full": name})
        created = {"id": 1, "name": name, "secret": "Rob0tSecret", "expires_at": -1}
        return self.answer(201, json.dumps(created).encode(), Location="/api/v2.0/robots/1")

    # The data path: only into projects that are there, while it is allowed, as long as there is room.
    def on_begin(self, name: str) -> None:
        project = name.partition("/")[0]
        if self.state.read_only:
            self.body()
            return self.refuse(
                403, "DENIED", "The system is in read only mode. Any modification is prohibited."
            )
        if project not in self.state.projects:
            self.body()
            return self.refuse(401, "UNAUTHORIZED", f"project {project} not found")
        return super().on_begin(name)

    def put_manifest(self, name: str, reference: str) -> None:
        if self.state.hard >= 0:
            self.body()
            text = "adding 9.8 GiB of storage resource, which when updated to current usage of 1 B will exceed the "
            return self.refuse(403, "DENIED", text + "configured upper limit of 10.0 GiB.")
        return super().put_manifest(name, reference)


def unfit(value: Any, schema: Any, where: str = "body") -> str:
    """Why a value is not of a schema of the description; "" when it is."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return f"{where} is no object"
        if set(value) - set(schema):
            return f"{where} has {sorted(set(value) - set(schema))}, which the description has not"
        return next(
            filter(None, (unfit(each, schema[key], f"{where}.{key}") for key, each in value.items())), ""
        )
    if isinstance(schema, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        return next(filter(None, (unfit(each, schema[0], f"{where}[]") for each in value)), "")
    return "" if type(value) is schema else f"{where} is {type(value).__name__}, not {schema.__name__}"
