"""Arguments of the modules: what they come to mean, and how wrong ones are refused."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from localhost import Here

from provisioner.errors import InputError
from provisioner.resources.model import Absent, HostKind, Present, Resource, State

DATA = Path(__file__).parents[1] / "data" / "kinds"


def cases(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def archive(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue()


def sources(folder: Path) -> dict[str, str]:
    """Files of the controller that cases name."""
    device = tarfile.TarInfo("null")
    device.type = tarfile.CHRTYPE
    contents = {
        "words": b"no archive at all\n",
        "xz": lzma.compress(archive(tarfile.TarInfo("a"))),
        "escaping": archive(tarfile.TarInfo("../a")),
        "device": archive(device),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in contents}


def wishes(task: Any, folder: Path) -> tuple[Resource, ...]:
    from provisioner.action.kinds import base_modules
    from provisioner.playbook.compile import Compiler
    from provisioner.playbook.load import load_playbook

    tasks = task if isinstance(task, list) else [task]
    path = folder / "book.yaml"
    path.write_text(
        yaml.safe_dump([{"name": "s", "hosts": "all", "tasks": tasks}], allow_unicode=True, width=1000)
    )
    modules = base_modules()
    playbook = load_playbook(path, set(modules))
    return Compiler(playbook, modules).stage(playbook.stages[0], "here", sources(folder))


@pytest.mark.parametrize(
    "case", cases("arguments"), ids=lambda case: f"{next(iter(case['task']))}: {case['error']}"
)
def test_wrong_arguments_are_refused_where_they_stand(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        wishes(case["task"], tmp_path)
    (problem,) = caught.value.problems
    assert case["error"] in problem.reason
    assert case.get("hint", "") in problem.hint
    assert problem.file == str(tmp_path / "book.yaml")
    lines = (tmp_path / "book.yaml").read_text().split("\n")
    # A list begins one line below its key.
    assert case.get("at", "") in "".join(lines[problem.line - 2 : problem.line])


@pytest.mark.parametrize("case", cases("wishes"), ids=lambda case: str(case["task"]))
def test_arguments_become_wishes(case: dict[str, Any], tmp_path: Path) -> None:
    resources = {resource.id: resource for resource in wishes(case["task"], tmp_path)}
    assert set(resources) == set(case["wants"])
    for name, wanted in case["wants"].items():
        desired = resources[name].desired
        if wanted == "absent":
            assert desired == Absent()
        else:
            assert isinstance(desired, Present)
            plain = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in desired.attrs.items()
            }
            assert plain | wanted == plain


@pytest.mark.parametrize("case", cases("answers"), ids=lambda case: next(iter(case["tasks"][0])))
def test_answers_become_states(case: dict[str, Any], tmp_path: Path) -> None:
    resources = [each for each in wishes(case["tasks"], tmp_path) if each.kind != "file"]
    here = Here(tmp_path, "dash")
    kind = here.kinds[resources[0].kind]
    assert isinstance(kind, HostKind)
    states = kind.parse(case["output"].encode(), resources)
    assert {each.name: plain(states[each.id]) for each in resources} == case["states"]


def plain(state: State) -> Any:
    if not isinstance(state, Present):
        return "absent"
    return {key: list(value) if isinstance(value, tuple) else value for key, value in state.attrs.items()}
