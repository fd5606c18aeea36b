"""Harbor's API as its description has it, by a server that checks every request; the data path is the registry's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result
from harborserver import OPERATIONS, HarborHandler, HarborState, unfit
from paperlayout import layout
from registryfaults import busy
from registryserver import HOST, Handler, Running, reached, serve

from provisioner.action.registryaccess import registry_of
from provisioner.cli.main import cli
from provisioner.engine.events import Event, Note, silent
from provisioner.errors import InputError, ProvisionError, UnreachableError
from provisioner.inventory.secrets import Secret
from provisioner.pki.cluster import ClusterState
from provisioner.registry import transport
from provisioner.registry.auth import Credentials
from provisioner.registry.harbor import Ensured, Harbor, Quota
from provisioner.registry.harborproject import HarborProject
from provisioner.registry.kind import ImageKind
from provisioner.registry.transport import RefusedError
from provisioner.resources.model import Absent, Change, Present, Resource
from provisioner.spec.load import load_cluster

pytest_plugins = ["registryfixtures"]

ADMIN = {"username": "admin", "password": "secret"}
USER = {"username": "user", "password": "word"}
ROBOT = {"username": "robot$calico+nodes", "password": "Rob0tSecret"}


@pytest.fixture
def state() -> HarborState:
    return HarborState()


@pytest.fixture
def harbor(pair: tuple[Path, Path], state: HarborState, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(transport, "_FIRST_DELAY_SECONDS", 0.001)
    with serve(*pair, state, HarborHandler) as running:
        yield running
    assert state.violations == []


def client(harbor: Running, **options: Any) -> Harbor:
    settings = {"ca_pem": harbor.ca, "stall_seconds": 5.0, **ADMIN, **options}
    return Harbor(reached(harbor.port, **settings))


@pytest.mark.parametrize(("public", "is_public"), [(None, False), (False, False), (True, True)])
def test_a_project_is_made_once(
    harbor: Running, state: HarborState, public: bool | None, is_public: bool
) -> None:
    with client(harbor) as api:
        assert api.ensure_project("calico", public) == Ensured(True)
        assert state.projects == {"calico": is_public}
        assert api.ensure_project("calico", public) == Ensured(False)
    assert [method for method, _ in state.requests].count("POST") == 1


def test_a_project_that_another_made_meanwhile_is_fine(harbor: Running, state: HarborState) -> None:
    def faster(_: HarborHandler) -> bool:
        if state.requests[-1][0] == "POST":
            state.projects["calico"] = False
            state.faults.clear()
        return False

    state.faults.append(faster)
    with client(harbor) as api:
        assert api.ensure_project("calico") == Ensured(False)


def test_a_project_that_is_there_is_opened_or_closed_as_the_spec_says(
    harbor: Running, state: HarborState
) -> None:
    state.projects["123"] = True
    with client(harbor) as api:
        assert api.ensure_project("123") == Ensured(False)
        assert state.projects == {"123": True}
        assert api.ensure_project("123", public=False) == Ensured(True)
        assert api.ensure_project("123", public=False) == Ensured(False)
    assert state.projects == {"123": False}


@pytest.mark.parametrize("open_head", [False, True])
def test_an_account_that_may_not_read_the_project_passes_with_a_warning(
    harbor: Running, state: HarborState, open_head: bool
) -> None:
    state.projects["calico"], state.open_head = False, open_head
    told: list[Event] = []
    with client(harbor) as api:
        api.robot("calico", "nodes")
    project = HarborProject(lambda: client(harbor, **ROBOT), "calico/site", True, told.append)
    assert project.ensure() is False
    assert project.ensure() is False
    (note,) = told
    assert isinstance(note, Note)
    assert note.level == "warning"
    assert "is not known to this account" in note.message
    assert ("is public" in note.message) == open_head
    assert state.projects == {"calico": False}
    told.clear()
    unsaid = HarborProject(lambda: client(harbor, **ROBOT), "calico/site", emit=told.append)
    assert unsaid.ensure() is False
    assert len(told) == (0 if open_head else 1)


def test_whether_a_project_is_there_that_may_not_be_seen_is_found_by_making_it(
    harbor: Running, state: HarborState
) -> None:
    state.projects["calico"], state.restriction = False, "everyone"
    with client(harbor, **USER) as api:
        assert api.ensure_project("calico") == Ensured(False)
        assert "calico is public is not known" in api.ensure_project("calico", public=True).unknown
        assert api.ensure_project("own", public=True) == Ensured(True)
        assert api.ensure_project("own", public=False) == Ensured(True)
        assert state.projects == {"calico": False, "own": False}
        state.read_only = True
        with pytest.raises(ProvisionError) as caught:
            api.ensure_project("calico")
    assert "read-only mode" in caught.value.hint


def test_a_robot_makes_no_project_though_everyone_may(harbor: Running, state: HarborState) -> None:
    state.projects["calico"], state.restriction = False, "everyone"
    with client(harbor) as api:
        api.robot("calico", "nodes")
    with client(harbor, **ROBOT) as api, pytest.raises(ProvisionError) as caught:
        api.ensure_project("more")
    assert "robots may not" in caught.value.hint
    assert state.projects == {"calico": False}


def test_a_project_that_may_be_read_only_has_to_be_right(harbor: Running, state: HarborState) -> None:
    state.projects["calico"], state.members["user", "calico"] = False, "developer"
    with client(harbor, **USER) as api:
        assert api.ensure_project("calico", public=False) == Ensured(False)
        assert [method for method, _ in state.requests] == ["HEAD", "GET"]
        with pytest.raises(ProvisionError) as caught:
            api.ensure_project("calico", public=True)
        assert "the project calico is private, not public" in caught.value.reason
        assert "403" in caught.value.reason
        assert "an administrator of the project changes it" in caught.value.hint
        state.members["user", "calico"] = "admin"
        state.read_only = True
        with pytest.raises(ProvisionError) as caught:
            api.ensure_project("calico", public=True)
        assert "read-only mode" in caught.value.hint
        state.read_only = False
        assert api.ensure_project("calico", public=True) == Ensured(True)


@pytest.mark.parametrize(
    ("account", "restriction", "read_only", "project", "says", "hint"),
    [
        (USER, "adminonly", False, "calico", "403", "an administrator makes it"),
        (ADMIN, "adminonly", True, "calico", "read only mode", "read-only mode"),
        (ADMIN, "everyone", False, "Calico", "400", "small letters"),
        (
            {"username": "user", "password": "no"},
            "everyone",
            False,
            "calico",
            "401",
            "another user or password",
        ),
        ({"username": None}, "everyone", False, "calico", "401", "another user or password"),
    ],
)
def test_why_a_project_cannot_be_made(
    harbor: Running,
    state: HarborState,
    account: dict[str, Any],
    restriction: str,
    read_only: bool,
    project: str,
    says: str,
    hint: str,
) -> None:
    state.restriction, state.read_only = restriction, read_only
    with client(harbor, **account) as api, pytest.raises(ProvisionError) as caught:
        api.ensure_project(project)
    assert says in caught.value.reason
    assert hint in caught.value.hint
    assert not state.projects


def test_a_robot_may_push_and_pull_and_no_more(harbor: Running, state: HarborState) -> None:
    with client(harbor) as api:
        with pytest.raises(ProvisionError, match="project calico not found"):
            api.robot("calico", "nodes", days=90)
        state.projects["calico"] = False
        robot = api.robot("calico", "nodes", days=90)
        assert robot.name == "robot$calico+nodes"
        assert robot.secret.reveal() == "Rob0tSecret"
        assert "Rob0tSecret" not in repr(robot)
        made = state.robots[0]
        access = made["permissions"][0]["access"]
        assert {(each["resource"], each["action"]) for each in access} == {
            ("repository", "pull"),
            ("repository", "push"),
        }
        assert (made["level"], made["duration"], len(made["permissions"])) == ("project", 90, 1)
        with pytest.raises(ProvisionError, match="has a robot account nodes already"):
            api.robot("calico", "nodes")


def test_the_answer_about_a_robot_that_is_lost_is_not_asked_for_twice(
    harbor: Running, state: HarborState
) -> None:
    state.faults.append(busy(502, "POST"))
    with client(harbor) as api, pytest.raises(UnreachableError, match="answer about the robot"):
        api.robot("calico", "nodes")
    assert [method for method, _ in state.requests] == ["POST"]


def test_quotas(harbor: Running, state: HarborState) -> None:
    state.projects["calico"] = False
    with client(harbor) as api:
        assert api.quota("calico") == Quota(None, 0)
        state.hard, state.used = 100, 40
        assert api.quota("calico").room == 60


def test_health_and_what_it_is(harbor: Running, state: HarborState) -> None:
    with client(harbor) as api:
        assert api.unhealthy() == {}
        state.components["database"] = "unhealthy"
        assert api.unhealthy() == {"database": "unhealthy"}
        assert api.info().version == "v2.15.2"
        assert abs(api.info().skew) < 3


def test_a_harbor_that_starts_is_waited_for(harbor: Running, state: HarborState) -> None:
    state.faults += [busy(502), busy(500), busy(503)]
    with client(harbor) as api:
        assert api.ensure_project("calico").changed


def test_a_registry_that_is_no_harbor(server: Running) -> None:
    with client(server) as api, pytest.raises(ProvisionError) as caught:
        api.info()
    assert not isinstance(caught.value, UnreachableError)
    server.state.violations.clear()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"read_only": True}, "read-only mode"),
        ({"projects": {}}, "no project calico"),
        ({"hard": 100, "used": 100}, "quota of the project calico is used up"),
        ({"date": formatdate(time.time() - 900, usegmt=True)}, "clocks differ by"),
        ({}, ""),
    ],
)
def test_the_real_cause(harbor: Running, state: HarborState, settings: dict[str, Any], says: str) -> None:
    state.projects["calico"] = False
    for name, value in settings.items():
        setattr(state, name, value)
    with client(harbor) as api:
        reason, hint = api.cause("calico")
    assert says in reason
    assert bool(hint) == bool(says)


@pytest.mark.parametrize("open_head", [False, True])
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"read_only": True}, "read-only mode"),
        ({"date": formatdate(time.time() - 900, usegmt=True)}, "clocks differ by"),
        ({"components": {"core": "healthy", "database": "unhealthy"}}, "not healthy: database (unhealthy)"),
        ({"components": {"core": "healthy", "trivy": "unhealthy"}}, ""),
        ({"hard": 100, "used": 100}, ""),
    ],
)
def test_a_robot_that_may_not_read_the_project_is_told_the_other_causes(
    harbor: Running, state: HarborState, settings: dict[str, Any], says: str, open_head: bool
) -> None:
    state.projects["calico"], state.open_head = False, open_head
    with client(harbor) as api:
        api.robot("calico", "nodes")
    for name, value in settings.items():
        setattr(state, name, value)
    with client(harbor, **ROBOT) as api:
        reason, hint = api.cause("calico")
        with pytest.raises(ProvisionError, match="403"):
            api.quota("calico")
        with pytest.raises(ProvisionError, match="403"):
            api.robot("calico", "more")
    assert says in reason
    assert bool(hint) == bool(says)


CREATE, ROBOTS = (
    next(each for each in OPERATIONS if each.name == name).body for name in ("create", "robots")
)
ACCESS = {"resource": "repository", "action": "push"}
PERMISSION = {"kind": "project", "namespace": "calico", "access": [ACCESS]}
WHOLE = {"name": "nodes", "level": "project", "duration": 90, "permissions": [PERMISSION]}


@pytest.mark.parametrize(
    "body",
    [
        {"project_name": "x", "metadata": {"public": True}},
        {"project_name": "x", "metadata": {"public": "yes"}},
        {"project_name": 7},
        {"name": "x"},
        {"project_name": "x", "metadata": []},
        {"metadata": {"public": "true"}},
    ],
)
def test_the_contract_knows_what_is_wrong(body: dict[str, Any]) -> None:
    assert unfit({"project_name": "x", "metadata": {"public": "true"}}, CREATE) == ""
    assert unfit(body, CREATE)


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in WHOLE),
        {"level": "x"},
        {"duration": 0},
        {"duration": -2},
        {"duration": "90"},
        {"permissions": []},
        {"permissions": [{**PERMISSION, "kind": "x"}]},
        {"permissions": [{**PERMISSION, "access": []}]},
        {"permissions": [{**PERMISSION, "access": [{"resource": "repository"}]}]},
        {"permissions": [{"kind": "project", "access": [ACCESS]}]},
    ],
)
def test_the_contract_knows_what_a_robot_needs(change: dict[str, Any]) -> None:
    """None: it is left out."""
    assert unfit(WHOLE, ROBOTS) == ""
    assert unfit({name: value for name, value in {**WHOLE, **change}.items() if value is not None}, ROBOTS)


@pytest.mark.parametrize(
    ("project", "by_name", "is_broken"),
    [("123", "true", False), ("123", "", True), ("calico", "", False), ("calico", "yes", True)],
)
def test_only_a_name_of_digits_has_to_be_said_to_be_a_name(
    harbor: Running, state: HarborState, project: str, by_name: str, is_broken: bool
) -> None:
    state.projects[project] = False
    headers = {"Authorization": Credentials("admin", "secret").basic()}
    if by_name:
        headers["X-Is-Resource-Name"] = by_name
    connection = transport.Transport(reached(harbor.port, ca_pem=harbor.ca), None)
    path = f"/api/v2.0/projects/{project}"
    answer = connection.send(transport.Request("GET", path, frozenset((200, 400)), headers=headers))
    connection.close()
    assert answer.status == (400 if is_broken else 200)
    assert bool(state.violations) == is_broken
    state.violations.clear()


def test_who_may_what(state: HarborState) -> None:
    state.projects.update(calico=False, open=True)
    state.members.update({("boss", "calico"): "admin", ("dev", "calico"): "developer"})
    state.robots.append({"full": "robot$calico+nodes", "permissions": [PERMISSION], "expires_at": -1})
    asked = [
        *(("project", "read"), ("project", "update"), ("quota", "read"), ("robot", "create")),
        *(("repository", "pull"), ("repository", "push")),
    ]

    def allowed(who: str | None, project: str) -> list[bool]:
        return [state.may(who, project, *each) for each in asked]

    yes, no = True, False
    assert allowed("admin", "calico") == [yes] * 6
    assert allowed("boss", "calico") == [yes] * 6
    assert allowed("dev", "calico") == [yes, no, yes, no, yes, yes]
    assert allowed("robot$calico+nodes", "calico") == [no, no, no, no, yes, yes]
    assert allowed("user", "calico") == allowed(None, "calico") == [no] * 6
    for who in ("boss", "robot$calico+nodes", "user", None):
        assert allowed(who, "open") == [yes, no, no, no, yes, no]


def pushes(harbor: Running, tmp_path: Path, who: Credentials | None, tag: str, data: bytes) -> None:
    image = layout(tmp_path / f"{tag}-{len(data)}", (f"quay.io/calico/node:{tag}", "linux/amd64", [data]))
    with harbor.client(credentials=who) as registry:
        registry.push(image.image(f"quay.io/calico/node:{tag}"), "calico/node", tag, silent)


def test_a_robot_pushes_with_its_secret_as_long_as_it_lives(
    harbor: Running, state: HarborState, tmp_path: Path
) -> None:
    state.projects.update(calico=False, other=False)
    with client(harbor) as api:
        made = api.robot("calico", "nodes", days=90)
    robot = Credentials(made.name, made.secret.reveal())
    pushes(harbor, tmp_path, robot, "v1", b"one")
    assert ("calico/node", "v1") in state.manifests
    with harbor.client(credentials=robot) as registry, pytest.raises(RefusedError):
        registry.digest("other/node", "v1")
    for who in (None, Credentials(made.name, "other"), Credentials("user", "word")):
        with pytest.raises(ProvisionError):
            pushes(harbor, tmp_path, who, "v2", b"two")
    state.rotate(made.name, "N3wSecret")
    with pytest.raises(ProvisionError):
        pushes(harbor, tmp_path, robot, "v2", b"two")
    pushes(harbor, tmp_path, Credentials(made.name, "N3wSecret"), "v3", b"three")
    state.robots[0]["expires_at"] = int(time.time()) - 1
    with pytest.raises(ProvisionError):
        pushes(harbor, tmp_path, Credentials(made.name, "N3wSecret"), "v4", b"four")
    assert {tag for _, tag in state.manifests if tag.startswith("v")} == {"v1", "v3"}


def test_a_quota_counts_what_is_new_in_the_project(
    harbor: Running, state: HarborState, tmp_path: Path
) -> None:
    state.projects["calico"], state.hard = False, 100_000
    admin = Credentials("admin", "secret")
    pushes(harbor, tmp_path, admin, "v1", bytes(60_000))
    used = state.used
    assert 60_000 < used < 70_000
    pushes(harbor, tmp_path, admin, "v2", bytes(60_000))
    assert state.used - used < 2_000, "the layer is there"
    with pytest.raises(RefusedError) as caught:
        pushes(harbor, tmp_path, admin, "v3", bytes(60_001))
    assert caught.value.status == 403
    assert "quota" in caught.value.hint
    assert ("calico/node", "v3") not in state.manifests


def test_a_tag_that_is_immutable_is_set_once(harbor: Running, state: HarborState, tmp_path: Path) -> None:
    state.projects["calico"], state.immutable = False, {"v1"}
    admin = Credentials("admin", "secret")
    pushes(harbor, tmp_path, admin, "v1", b"one")
    with pytest.raises(RefusedError) as caught:
        pushes(harbor, tmp_path, admin, "v1", b"other")
    assert caught.value.status == 412
    assert "immutable" in caught.value.hint


LOGIN = ("--username", "admin", "--password-command", "printf secret")


def provision(
    harbor: Running, tmp_path: Path, command: str, *words: str, login: tuple[str, ...] = LOGIN
) -> Result:
    (tmp_path / "ca.pem").write_bytes(harbor.ca)
    options = ("--ca", str(tmp_path / "ca.pem"), "--address", "127.0.0.1", *login)
    return CliRunner().invoke(cli, ["bundle", command, *options, *words])


def test_a_push_into_a_project_that_it_makes(harbor: Running, state: HarborState, tmp_path: Path) -> None:
    bundle = layout(tmp_path / "bundle", ("quay.io/calico/node:v3.28.1", "linux/amd64", [b"one"]))
    words = ("push", str(bundle.path), "--to", f"{HOST}:{harbor.port}/infra")
    lacking = provision(harbor, tmp_path, *words)
    assert isinstance(lacking.exception, ProvisionError)
    assert "Harbor has no project infra" in lacking.exception.reason
    assert "--create-project" in lacking.exception.hint
    done = provision(harbor, tmp_path, *words, "--create-project", "public")
    assert done.exit_code == 0, done.output
    assert state.projects == {"infra": True}
    assert ("infra/calico/node", "v3.28.1") in state.manifests


def test_a_push_as_its_own_robot_says_what_that_may_not_know(
    harbor: Running, state: HarborState, tmp_path: Path
) -> None:
    state.projects.update(infra=False, other=False)
    to = f"{HOST}:{harbor.port}"
    made = provision(harbor, tmp_path, "robot", "nodes", "--to", f"{to}/infra", "-o", str(tmp_path / "robot"))
    assert made.exit_code == 0, made.output
    bundle = layout(tmp_path / "bundle", ("quay.io/calico/node:v3.28.1", "linux/amd64", [b"one"]))
    first = ("push", str(bundle.path), "--to", f"{to}/infra", "--create-project", "public")
    as_robot = ("--username", "robot$infra+nodes", "--password-command", "printf Rob0tSecret")
    done = provision(harbor, tmp_path, *first, login=as_robot)
    assert done.exit_code == 0, done.output
    assert "project infra is not known to this account" in done.output
    assert "is there now" not in done.output
    assert ("infra/calico/node", "v3.28.1") in state.manifests
    state.date = formatdate(time.time() - 900, usegmt=True)
    second = ("push", str(bundle.path), "--to", f"{to}/other")
    refused = provision(harbor, tmp_path, *second, login=as_robot)
    assert isinstance(refused.exception, ProvisionError)
    assert "the clocks differ by 90" in refused.exception.reason


@pytest.mark.parametrize(("settings", "says"), [({"hard": 1}, "quota"), ({"immutable": {"v1"}}, "immutable")])
def test_a_guess_does_not_outdo_the_cause_that_harbor_names(
    harbor: Running, state: HarborState, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    state.projects["calico"] = False
    with client(harbor) as api:
        robot = api.robot("calico", "nodes")
    who = Credentials(robot.name, robot.secret.reveal())
    pushes(harbor, tmp_path, who, "v1", b"one")
    for name, value in {**settings, "date": formatdate(time.time() - 900, usegmt=True)}.items():
        setattr(state, name, value)
    with pytest.raises(RefusedError) as caught:
        pushes(harbor, tmp_path, who, "v1", b"other")
    explained = HarborProject(lambda: client(harbor, **ROBOT), "calico").explained(caught.value)
    assert explained is caught.value
    assert says in explained.hint
    state.used, state.hard = 100, 100
    if says == "immutable":
        assert HarborProject(lambda: client(harbor), "calico").explained(caught.value) is caught.value


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"read_only": True}, "Harbor is in read-only mode: "),
        ({"hard": 10, "used": 10}, "quota of the project infra"),
    ],
)
def test_a_push_that_is_refused_tells_the_real_cause(
    harbor: Running, state: HarborState, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    state.projects["infra"] = False
    for name, value in settings.items():
        setattr(state, name, value)
    bundle = layout(tmp_path / "bundle", ("quay.io/calico/node:v3.28.1", "linux/amd64", [b"one"]))
    done = provision(harbor, tmp_path, "push", str(bundle.path), "--to", f"{HOST}:{harbor.port}/infra")
    assert isinstance(done.exception, ProvisionError)
    assert says in done.exception.reason


def test_a_robots_secret_goes_to_a_file_of_its_own(
    harbor: Running, state: HarborState, tmp_path: Path
) -> None:
    file, state.projects["infra"] = tmp_path / "robot", False
    words = ("robot", "nodes", "--to", f"{HOST}:{harbor.port}/infra", "-o", str(file))
    done = provision(harbor, tmp_path, *words)
    assert done.output == "robot$infra+nodes\n"
    assert file.read_text() == "Rob0tSecret"
    assert file.stat().st_mode & 0o777 == 0o600
    again = provision(harbor, tmp_path, *words)
    assert isinstance(again.exception, InputError)
    assert "--force" not in str(again.exception), "there is none"
    assert "name another one" in str(again.exception)
    assert len(state.robots) == 1, "none is made whose secret has no place"


@pytest.mark.parametrize(
    "name", ["BAD", "BAD NAME", "a b", "", "-a", "a-", "a..b", "a+b", "robot$infra+nodes", "Nodes", "a\n"]
)
def test_a_robot_s_name_is_checked_before_anything_is_sent(
    harbor: Running, state: HarborState, tmp_path: Path, name: str
) -> None:
    to = ("--to", f"{HOST}:{harbor.port}/infra", "-o", str(tmp_path / "robot"))
    done = provision(harbor, tmp_path, "robot", *to, "--", name, login=())
    assert isinstance(done.exception, InputError)
    assert [each.file for each in done.exception.problems] == ["--username", "NAME"]
    assert "give --username and --password-file" in str(done.exception)
    assert not state.requests


@pytest.mark.parametrize("name", ["nodes", "1", "k8s.nodes_of-site"])
def test_names_that_robots_may_have(harbor: Running, state: HarborState, tmp_path: Path, name: str) -> None:
    state.projects["infra"] = False
    to = ("--to", f"{HOST}:{harbor.port}/infra", "-o", str(tmp_path / "robot"))
    assert provision(harbor, tmp_path, "robot", name, *to).output == f"robot$infra+{name}\n"


def test_harbor_s_commands_at_another_registry(server: Running, tmp_path: Path) -> None:
    def lacks(handler: Handler) -> bool:
        """As docker-registry answers what it has no path for."""
        if handler.path.startswith("/api/"):
            handler.answer(404, b"404 page not found\n")
        return handler.path.startswith("/api/")

    server.state.faults += [lacks, lacks]
    bundle = layout(tmp_path / "bundle", ("quay.io/calico/node:v3.28.1", "linux/amd64", [b"one"]))
    to = ("--to", f"{HOST}:{server.port}/infra")
    file = tmp_path / "robot"
    push = provision(server, tmp_path, "push", str(bundle.path), *to, "--create-project", "private", login=())
    robot = provision(server, tmp_path, "robot", "nodes", *to, "-o", str(file))
    for done, hint in ((push, "push without --create-project"), (robot, "the registry's own means")):
        assert isinstance(done.exception, ProvisionError)
        assert done.exception.reason == f"{HOST}:{server.port} is no Harbor"
        assert hint in done.exception.hint
    assert not file.exists()
    assert {method for method, _ in server.state.requests} == {"GET"}


def test_a_project_without_an_account(harbor: Running, state: HarborState, tmp_path: Path) -> None:
    bundle = layout(tmp_path / "bundle", ("quay.io/calico/node:v3.28.1", "linux/amd64", [b"one"]))
    words = ("push", str(bundle.path), "--to", f"{HOST}:{harbor.port}/infra", "--create-project", "private")
    done = provision(harbor, tmp_path, *words, login=())
    assert isinstance(done.exception, ProvisionError)
    assert "give --username and --password-file" in done.exception.hint
    assert not state.projects


def test_apply_makes_the_project_before_the_first_image(
    harbor: Running, state: HarborState, tmp_path: Path
) -> None:
    reference = "quay.io/calico/node:v3.28.1"
    bundle = layout(tmp_path / "bundle", (reference, "linux/amd64", [b"one"]))
    project = HarborProject(lambda: client(harbor), "infra/site")
    kind = ImageKind(
        harbor.client(credentials=Credentials("admin", "secret")), "infra/site", bundle.image, silent, project
    )
    image = Resource("image", reference, Present(), {"image": bundle.image(reference)})
    change = Change(image, Absent(), "create")
    assert "2 blobs sent" in kind.carry_out(change)
    assert "there already" in kind.carry_out(change)
    assert state.projects == {"infra": False}
    assert [path for method, path in state.requests if "/api/" in path and method == "POST"] == [
        "/api/v2.0/projects"
    ]
    assert ("infra/site/calico/node", "v3.28.1") in state.manifests


def test_apply_says_what_its_account_may_not_know(
    harbor: Running, state: HarborState, tmp_path: Path
) -> None:
    state.projects["calico"] = False
    with client(harbor) as api:
        api.robot("calico", "nodes")
    (tmp_path / "ca.pem").write_bytes(harbor.ca)
    spec = load_cluster(Path(__file__).parents[2] / "inventories" / "lab.yaml")[1]
    outside = replace(
        spec.registry,
        kind="harbor",
        host=HOST,
        port=harbor.port,
        address="127.0.0.1",
        project="calico",
        public=True,
        ca=str(tmp_path / "ca.pem"),
        username=ROBOT["username"],
        password=Secret.text(ROBOT["password"]),
    )
    told: list[Event] = []
    # The state is for a registry that the cluster itself signs for.
    _, project = registry_of(replace(spec, registry=outside), cast(ClusterState, None), told.append)
    assert project
    assert project.ensure() is False
    assert [each.level for each in told if isinstance(each, Note)] == ["warning"]
