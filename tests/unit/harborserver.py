"""A Harbor as far as its API's description goes, with the registry of the tests behind it: checks every request.

There is no Harbor to run here. What it knows was written by hand, from three sources:

- The published description (api/v2.0/swagger.yaml of goharbor/harbor): methods, paths, queries, headers, the bodies'
  fields and types, that they are wanted, the statuses; /health is 200 whatever it says; the level of a robot is project
  or system, its duration -1 or a positive number of days; X-Is-Resource-Name may be left out.
- Harbor's source (src/server, src/common/security): a robot may do only what its permissions name, a push implies the
  pull; it is known by its whole name, while it is neither disabled nor expired; a project's robot has one permission
  and makes no project; who makes a project administers it; HEAD /projects, a project and its summary want the right to
  read it, the quota within it one of its own; tags that match a rule are not pushed again (412).
- Assumptions, which nothing here could check: that what is needed below (`Needed`) is, where the description says of
  no field that it is; refusals' words; 401 for a push into a project that is not there and for one that the account may
  not do; 403 for a quota; that a name of digits only is taken as a number where the header is left out.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from registryserver import Handler, State

_REQUEST_ID = re.compile(r".+")
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_TEXT, _FLAG, _NUMBER = str, bool, int
_READ_ONLY = "The system is in read only mode. Any modification is prohibited."


@dataclass(frozen=True)
class Needed:
    """A field that has to be there."""

    schema: Any


@dataclass(frozen=True)
class Only:
    """A value of `kind` that is `good`; `says` what that is."""

    kind: type
    good: Callable[[Any], bool]
    says: str


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


_METADATA: dict[str, Any] = dict.fromkeys(
    (
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
) | {"public": Only(str, {"true", "false"}.__contains__, "true or false")}
_PROJECT: dict[str, Any] = {
    "project_name": _TEXT,
    "metadata": _METADATA,
    "public": _FLAG,
    "storage_limit": _NUMBER,
    "registry_id": _NUMBER,
}
_NEW_PROJECT = {**_PROJECT, "project_name": Needed(_TEXT)}
_LEVEL = Only(str, {"project", "system"}.__contains__, "project or system")
_ACCESS = {"resource": Needed(_TEXT), "action": Needed(_TEXT), "effect": _TEXT}
_ROBOT: dict[str, Any] = {
    "name": Needed(_TEXT),
    "description": _TEXT,
    "secret": _TEXT,
    "level": Needed(_LEVEL),
    "disable": _FLAG,
    "duration": Needed(Only(int, lambda days: days == -1 or days > 0, "-1 or positive")),
    "permissions": Needed(
        [{"kind": Needed(_LEVEL), "namespace": Needed(_TEXT), "access": Needed([_ACCESS])}]
    ),
}
_PROJECT_PATH = r"/projects/(?P<project>[^/]+)"
OPERATIONS = (
    Operation("GET", r"/health", "health", anonymous=True),
    Operation("GET", r"/systeminfo", "systeminfo", anonymous=True),
    Operation("HEAD", r"/projects", "head", frozenset({"project_name"}), frozenset({"project_name"})),
    Operation("POST", r"/projects", "create", body=_NEW_PROJECT),
    Operation("GET", _PROJECT_PATH, "project", named=True),
    Operation("PUT", _PROJECT_PATH, "update", body=_PROJECT, named=True),
    Operation("GET", _PROJECT_PATH + r"/summary", "summary", named=True),
    Operation("POST", r"/robots", "robots", body=_ROBOT),
)


@dataclass
class HarborState(State):
    """`projects` by name: whether public. `accounts`: passwords by user, `admins` those who may do all, `members` the
    roles (admin, developer) of others by user and project. `robots` are what was asked for, and what Harbor made of it:
    full, secret, expires_at. `open_head`: HEAD /projects answers whoever is known, as the description has it.

    `hard` is each project's quota in bytes (-1: none), `used` what is used of it. A tag in `immutable` is set once.
    """

    projects: dict[str, bool] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=lambda: {"admin": "secret", "user": "word"})
    admins: set[str] = field(default_factory=lambda: {"admin"})
    members: dict[tuple[str, str], str] = field(default_factory=dict)
    robots: list[dict[str, Any]] = field(default_factory=list)
    restriction: str = "adminonly"
    read_only: bool = False
    open_head: bool = False
    hard: int = -1
    used: int = 0
    counted: set[tuple[str, str]] = field(default_factory=set)
    immutable: set[str] = field(default_factory=set)
    components: dict[str, str] = field(default_factory=lambda: {"core": "healthy", "database": "healthy"})
    date: str = ""

    def knows(self, name: str, password: str) -> bool:
        robot = self.robot(name)
        if robot is None:
            return self.accounts.get(name) == password
        lives = robot["expires_at"] == -1 or robot["expires_at"] > time.time()
        return bool(robot["secret"] == password and lives and not robot.get("disable"))

    def robot(self, name: str | None) -> dict[str, Any] | None:
        return next((each for each in self.robots if each["full"] == name), None)

    def rotate(self, name: str, secret: str) -> None:
        """As an administrator who gives a robot another secret."""
        robot = self.robot(name)
        assert robot, f"no robot {name} was made"
        robot["secret"] = secret

    def may(self, user: str | None, project: str, resource: str, action: str) -> bool:
        """`resource` is project, quota, robot or repository."""
        if user in self.admins:
            return True
        reads = (resource, action) in {("project", "read"), ("repository", "pull")}
        if self.projects.get(project) and reads:
            return True
        robot = self.robot(user)
        if robot is not None:
            return (resource, action) in _granted(robot, project)
        role = self.members.get((user or "", project))
        return role == "admin" or (
            role == "developer"
            and (reads or (resource, action) in {("quota", "read"), ("repository", "push")})
        )


def _granted(robot: dict[str, Any], project: str) -> set[tuple[str, str]]:
    access = [
        (str(each["resource"]), str(each["action"]))
        for permission in robot["permissions"]
        if permission["namespace"] == project
        for each in permission["access"]
    ]
    return {*access, *((resource, "pull") for resource, action in access if action == "push")}


class HarborHandler(Handler):
    state: HarborState

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.state.date or super().date_time_string(timestamp)

    def handle_any(self) -> None:
        """The registry's paths are the registry's, for those who may."""
        parts = urlsplit(self.path)
        if parts.path == "/service/token":
            return self.give_token(parse_qs(parts.query))
        if not parts.path.startswith("/api/"):
            return self.serve_images() if self.admitted(parts.path) else None
        self.state.requests.append((self.command, self.path))
        for fault in self.state.faults[:1]:
            if fault(self):
                return self.used_up(fault)
        for operation in OPERATIONS:
            match = re.fullmatch("/api/v2.0" + operation.path, parts.path)
            if match and operation.method == self.command:
                return self.operate(operation, {k: unquote(v) for k, v in match.groupdict().items()})
        return self.broken("the description has no such operation")

    def serve_images(self) -> None:
        super().handle_any()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def operate(self, operation: Operation, where: dict[str, str]) -> None:
        data, query = self.body(), parse_qs(urlsplit(self.path).query)
        fault = self.fault(operation, set(query), data, where.get("project", ""))
        if fault:
            return self.broken(fault)
        user = self.user()
        if user is None and not operation.anonymous:
            return self.refuse(401, "UNAUTHORIZED", "unauthorized")
        if self.state.read_only and self.command != "GET" and self.command != "HEAD":
            return self.refuse(403, "DENIED", _READ_ONLY)
        document = json.loads(data) if data else {}
        getattr(self, f"do_{operation.name}")(user, document, query=query, **where)
        return None

    def fault(self, operation: Operation, query: set[str], data: bytes, project: str) -> str:
        """What the description does not allow."""
        if not _REQUEST_ID.fullmatch(self.headers.get("X-Request-Id", "x")):
            return "X-Request-Id is empty"
        if query - operation.query or operation.required - query:
            return f"the query {sorted(query)} is not {sorted(operation.query)}"
        if "X-Is-Resource-Name" in self.headers and not operation.named:
            return "X-Is-Resource-Name is not of this operation"
        by_name = self.headers.get("X-Is-Resource-Name", "false")
        if by_name not in {"true", "false"}:
            return f"X-Is-Resource-Name is {by_name}, which is no boolean"
        if project.isdigit() and by_name != "true":
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
        return name if self.state.knows(name, password) else None

    def forbidden(self, user: str | None, project: str, resource: str, action: str) -> bool:
        """Whether it was refused."""
        allowed = self.state.may(user, project, resource, action)
        if not allowed:
            self.refuse(403, "FORBIDDEN", "forbidden")
        return not allowed

    def value(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_health(self, _user: str | None, _body: object, **_: object) -> None:
        parts = [{"name": name, "status": status} for name, status in self.state.components.items()]
        well = all(each["status"] == "healthy" for each in parts)
        self.value({"status": "healthy" if well else "unhealthy", "components": parts})

    def do_systeminfo(self, user: str | None, _body: object, **_: object) -> None:
        known = {"harbor_version": "v2.15.2", "read_only": self.state.read_only} if user else {}
        self.value({"auth_mode": "db_auth", "project_creation_restriction": self.state.restriction, **known})

    def do_head(self, user: str, _body: object, query: dict[str, list[str]]) -> None:
        project = query["project_name"][0]
        if project not in self.state.projects:
            return self.answer(404)
        readable = self.state.open_head or self.state.may(user, project, "project", "read")
        return self.answer(200 if readable else 403)

    def do_create(self, user: str, body: dict[str, Any], **_: object) -> None:
        name = body["project_name"]
        if not _NAME.fullmatch(name):
            return self.refuse(400, "BAD_REQUEST", f"project name {name} is not in lower case")
        if self.state.robot(user):
            return self.refuse(403, "FORBIDDEN", "Only system level robot can create project")
        if user not in self.state.admins and self.state.restriction == "adminonly":
            return self.refuse(403, "FORBIDDEN", "Only system admin can create project")
        if name in self.state.projects:
            return self.refuse(409, "CONFLICT", f"The project named {name} already exists")
        self.state.projects[name] = body.get("metadata", {}).get("public") == "true"
        self.state.members[user, name] = "admin"
        return self.answer(201, b"", Location=f"/api/v2.0/projects/{len(self.state.projects)}")

    def do_project(self, user: str, _body: object, project: str, **_: object) -> None:
        if self.forbidden(user, project, "project", "read"):
            return None
        if project not in self.state.projects:
            return self.refuse(404, "NOT_FOUND", f"project {project} not found")
        return self.value(
            {"name": project, "metadata": {"public": str(self.state.projects[project]).lower()}}
        )

    def do_update(self, user: str, body: dict[str, Any], project: str, **_: object) -> None:
        if self.forbidden(user, project, "project", "update"):
            return None
        public = body.get("metadata", {}).get("public")
        if public:
            self.state.projects[project] = public == "true"
        return self.answer(200)

    def do_summary(self, user: str, _body: object, project: str, **_: object) -> None:
        if self.forbidden(user, project, "project", "read"):
            return None
        if project not in self.state.projects:
            return self.refuse(404, "NOT_FOUND", f"project {project} not found")
        quota = {"hard": {"storage": self.state.hard}, "used": {"storage": self.state.used}}
        told = {"quota": quota} if self.state.may(user, project, "quota", "read") else {}
        return self.value({"repo_count": 0, **told})

    def do_robots(self, user: str, body: dict[str, Any], **_: object) -> None:
        if not _NAME.fullmatch(body["name"]):
            return self.refuse(400, "BAD_REQUEST", "robot name is not in lower case")
        if body["level"] == "project" and len(body["permissions"]) > 1:
            return self.refuse(400, "BAD_REQUEST", "bad request permission")
        project = body["permissions"][0]["namespace"]
        if self.forbidden(user, project, "robot", "create"):
            return None
        if project not in self.state.projects:
            return self.refuse(404, "NOT_FOUND", f"project {project} not found")
        name = f"robot${project}+{body['name']}"
        if self.state.robot(name):
            return self.refuse(409, "CONFLICT", "robot account exists")
        days = body["duration"]
        ends = -1 if days == -1 else int(time.time()) + days * 86400
        # Its `secret` in the request is not what it gets: Harbor makes one.
        self.state.robots.append({**body, "full": name, "secret": "Rob0tSecret", "expires_at": ends})
        created = {"id": 1, "name": name, "secret": "Rob0tSecret", "expires_at": ends}
        return self.answer(201, json.dumps(created).encode(), Location="/api/v2.0/robots/1")

    # The data path: for accounts that may, only into projects that are there, while it is allowed, as there is room.
    def give_token(self, query: dict[str, list[str]]) -> None:
        user = self.user()
        if user is None:
            return self.refuse(401, "UNAUTHORIZED", "unauthorized")
        token = f"t{len(self.state.issued)}"
        self.state.issued[token] = [user, *query.get("scope", [])]
        return self.answer(200, json.dumps({"token": token, "expires_in": 1800}).encode())

    def actor(self) -> str | None:
        """Whose request it is, by a token or the account itself."""
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer":
            return self.state.issued.get(rest, [None])[0]
        return self.user()

    def admitted(self, path: str) -> bool:
        """Otherwise it was refused, and the body is read."""
        user, project = self.actor(), path.removeprefix("/v2/").partition("/")[0]
        if not project:
            return user is not None or self.challenge(path)
        writes = self.command in {"POST", "PUT", "PATCH", "DELETE"}
        action = "push" if writes else "pull"
        if not self.state.may(user, project, "repository", action) or not self.covered(path, action):
            return self.challenge(path)
        if writes and self.state.read_only:
            return self.unwelcome(403, "DENIED", _READ_ONLY)
        if writes and project not in self.state.projects:
            return self.unwelcome(401, "UNAUTHORIZED", f"project {project} not found")
        return True

    def covered(self, path: str, action: str) -> bool:
        """Whether a token, if it is one, was asked for this."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        repository = re.split(r"/(?:manifests|blobs)/", path.removeprefix("/v2/"))[0]
        scopes = [scope.rpartition(":") for scope in self.state.issued.get(token, [])[1:]]
        return scheme != "Bearer" or any(
            named == f"repository:{repository}" and action in actions.split(",")
            for named, _, actions in scopes
        )

    def unwelcome(self, status: int, code: str, message: str) -> bool:
        self.state.requests.append((self.command, self.path))
        self.body()
        self.refuse(status, code, message)
        return False

    def challenge(self, path: str) -> bool:
        self.state.requests.append((self.command, self.path))
        self.body()
        said = {"code": "UNAUTHORIZED", "message": f"unauthorized to access repository: {path}"}
        realm = f'Bearer realm="https://{self.headers["Host"]}/service/token",service="harbor-registry"'
        self.answer(401, json.dumps({"errors": [said]}).encode(), WWW_Authenticate=realm)
        return False

    def put_manifest(self, name: str, reference: str) -> None:
        state, data, project = self.state, self.body(), name.partition("/")[0]
        if reference in state.immutable and (name, reference) in state.manifests:
            where = f"{name.partition('/')[2]}:{reference}"
            said = f"Failed to process request due to '{where}' configured as immutable."
            return self.refuse(412, "PRECONDITION", said)
        new = {
            (project, digest): size
            for digest, size in self.sizes(data).items()
            if (project, digest) not in state.counted
        }
        size = sum(new.values())
        if 0 <= state.hard < state.used + size:
            said = (
                f"adding {size} B of storage resource, which when updated to current usage of {state.used} B"
            )
            limit = f"will exceed the configured upper limit of {state.hard} B."
            return self.refuse(403, "DENIED", f"{said} {limit}")
        state.used += size
        state.counted.update(new)
        self.read_already = data
        return super().put_manifest(name, reference)

    def sizes(self, data: bytes) -> dict[str, int]:
        """What counts of a manifest: it, and the blobs that it names; each once in a project."""
        document = json.loads(data)
        parts = [document["config"], *document["layers"]] if "config" in document else []
        return {self.digest(data): len(data), **{part["digest"]: int(part["size"]) for part in parts}}

    read_already = b""

    def body(self) -> bytes:
        """Once more what `put_manifest` has looked at."""
        data, self.read_already = self.read_already, b""
        return data or super().body()


def unfit(value: Any, schema: Any, where: str = "body") -> str:
    """Why a value is not of a schema of the description; "" when it is."""
    if isinstance(schema, Needed):
        return unfit(value, schema.schema, where)
    if isinstance(schema, Only):
        wrong = unfit(value, schema.kind, where)
        return wrong or ("" if schema.good(value) else f"{where} is {value!r}, not {schema.says}")
    if isinstance(schema, dict):
        return _unfit_object(value, schema, where)
    if isinstance(schema, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        if not value:
            return f"{where} is empty"
        return next(filter(None, (unfit(each, schema[0], f"{where}[]") for each in value)), "")
    return "" if type(value) is schema else f"{where} is {type(value).__name__}, not {schema.__name__}"


def _unfit_object(value: Any, schema: dict[str, Any], where: str) -> str:
    if not isinstance(value, dict):
        return f"{where} is no object"
    if set(value) - set(schema):
        return f"{where} has {sorted(set(value) - set(schema))}, which the description has not"
    lacking = sorted({key for key, each in schema.items() if isinstance(each, Needed)} - set(value))
    if lacking:
        return f"{where} lacks {lacking}"
    return next(filter(None, (unfit(each, schema[key], f"{where}.{key}") for key, each in value.items())), "")
