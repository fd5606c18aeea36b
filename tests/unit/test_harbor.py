"""Harbor's API as its description has it, by a server that checks every request; the data path is the registry's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from harborserver import OPERATIONS, HarborHandler, HarborState, unfit
from paperlayout import layout
from registryfaults import busy
from registryserver import HOST, Handler, Running, reached, serve

from provisioner.cli.main import cli
from provisioner.engine.events import silent
from provisioner.errors import InputError, ProvisionError, UnreachableError
from provisioner.registry import transport
from provisioner.registry.harbor import Harbor, Quota
from provisioner.registry.harborproject import HarborProject
from provisioner.registry.kind import ImageKind
from provisioner.resources.model import Absent, Change, Present, Resource

pytest_plugins = ["registryfixtures"]

ADMIN = {"username": "admin", "password": "secret"}
USER = {"username": "user", "password": "word"}


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
        assert api.ensure_project("calico", public) is True
        assert state.projects == {"calico": is_public}
        assert api.ensure_project("calico", public) is False
    assert [method for method, _ in state.requests].count("POST") == 1


def test_a_project_that_another_made_meanwhile_is_fine(harbor: Running, state: HarborState) -> None:
    def faster(_: HarborHandler) -> bool:
        if state.requests[-1][0] == "POST":
            state.projects["calico"] = False
            state.faults.clear()
        return False

    state.faults.append(faster)
    with client(harbor) as api:
        assert api.ensure_project("calico") is False


def test_a_project_that_is_there_is_opened_or_closed_as_the_spec_says(
    harbor: Running, state: HarborState
) -> None:
    state.projects["123"] = True
    with client(harbor) as api:
        assert api.ensure_project("123") is False
        assert state.projects == {"123": True}
        assert api.ensure_project("123", public=False) is True
        assert api.ensure_project("123", public=False) is False
    assert state.projects == {"123": False}


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
        assert api.ensure_project("calico")


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


@pytest.mark.parametrize(
    "body",
    [
        {"project_name": "x", "metadata": {"public": True}},
        {"project_name": 7},
        {"name": "x"},
        {"metadata": []},
    ],
)
def test_the_contract_knows_what_is_wrong(body: dict[str, Any]) -> None:
    create = next(each for each in OPERATIONS if each.name == "create")
    assert unfit(body, create.body)


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
    kind = ImageKind(harbor.client(), "infra/site", bundle.image, silent, project)
    image = Resource("image", reference, Present(), {"image": bundle.image(reference)})
    change = Change(image, Absent(), "create")
    assert "2 blobs sent" in kind.carry_out(change)
    assert "there already" in kind.carry_out(change)
    assert state.projects == {"infra": False}
    assert [path for method, path in state.requests if "/api/" in path and method == "POST"] == [
        "/api/v2.0/projects"
    ]
    assert ("infra/site/calico/node", "v3.28.1") in state.manifests
