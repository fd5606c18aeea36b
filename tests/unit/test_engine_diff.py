"""The generic diff, and what stages may want of one thing."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.engine.diff import diff, diff_all, remaining
from provisioner.engine.plan import Desired
from provisioner.engine.planner import check_unambiguous
from provisioner.errors import ProvisionError
from provisioner.resources.absent import AbsentPathsKind
from provisioner.resources.model import Absent, Change, Present, Resource, State, Unknown
from provisioner.resources.paths import PathKind

A1, A2, B = Present({"a": 1}), Present({"a": 2}), Present({"a": 1, "b": ("x",)})
TABLE: list[tuple[State, State, tuple[str, tuple[str, ...]] | None]] = [
    (A1, A1, None),
    (A1, B, None),
    (A1, A2, ("update", ("a",))),
    (B, A2, ("update", ("a", "b"))),
    (B, Present({"a": 1, "b": ("y",)}), ("update", ("b",))),
    (B, Present({"a": 1, "b": None}), ("update", ("b",))),
    (A1, Absent(), ("create", ("a",))),
    (Present(), Absent(), ("create", ())),
    (Present(), Present({"x": 1}), None),
    (Absent(), Absent(), None),
    (Absent(), A1, ("delete", ())),
    (A1, Unknown("not up"), ("update", ())),
    (Absent(), Unknown("not up"), None),
]


@pytest.mark.parametrize(("desired", "actual", "wanted"), TABLE)
def test_diff(desired: State, actual: State, wanted: Any) -> None:
    change = diff(Resource("file", "/x", desired), actual)
    assert (change and (change.action, change.keys)) == wanted


def test_wanting_the_unknown_is_a_defect() -> None:
    with pytest.raises(TypeError):
        diff(Resource("file", "/x", Unknown("")), A1)


def test_what_the_probe_left_out_is_unknown() -> None:
    kind = PathKind()
    wanted = Resource("file", "/x", Present({"type": "file"}))
    unwanted = Resource("file", "/y", Absent())
    (change,) = diff_all([wanted, unwanted], {}, {"file": kind})
    assert change.resource is wanted
    assert isinstance(change.before, Unknown)


def test_what_an_earlier_stage_does_is_not_planned_again() -> None:
    kind = PathKind()
    resource = Resource("file", "/x", Present({"type": "directory"}))
    first = diff_all([resource], {resource.id: Absent()}, {"file": kind})
    assert len(first) == 1
    assert diff_all([resource], {resource.id: Absent()}, {"file": kind}, first) == []


LEFT: list[tuple[State, State, str]] = [
    (A1, A1, ""),
    (A1, A2, "a is 2, not 1"),
    (A1, Absent(), "is still absent"),
    (Absent(), A1, "is still there"),
    (A1, Unknown("no API"), "cannot be read again: no API"),
]


@pytest.mark.parametrize(("desired", "after", "words"), LEFT)
def test_what_is_left_in_words(desired: State, after: State, words: str) -> None:
    change = Change(Resource("file", "/x", desired), Absent(), "create")
    assert remaining(change, after, PathKind()) == words


def wants(**stages: tuple[State, ...]) -> list[Desired]:
    return [
        Desired(name, {"h": tuple(Resource("file", "/x", state) for state in states)})
        for name, states in stages.items()
    ]


def test_two_stages_may_want_the_same() -> None:
    check_unambiguous(wants(one=(A1,), two=(A1,)))
    check_unambiguous(
        [
            Desired("one", {"h": (Resource("file", "/x", A1),)}),
            Desired("two", {"i": (Resource("file", "/x", A2),)}),
        ]
    )


@pytest.mark.parametrize(("first", "second"), [(A1, A2), (A1, Absent()), (A1, B)])
def test_two_stages_that_disagree_are_named(first: State, second: State) -> None:
    with pytest.raises(ProvisionError, match="h: the stages 'one' and 'two' want file:/x differently"):
        check_unambiguous(wants(one=(first,), two=(second,)))


def written(path: str, *, action: str = "create") -> Change:
    return Change(Resource("file", path, A1, writes=(path,)), Absent(), action)


SETTLED = [
    ("/etc/a/token", Absent(), [written("/etc/a/token")], ("/etc/a/token",)),
    ("/etc/a/*.conf", Absent(), [written("/etc/a/b.conf"), written("/etc/a/c")], ("/etc/a/b.conf",)),
    ("/etc/a", Absent(), [written("/etc/a/b/c")], ("/etc/a/b/c",)),
    ("/etc/a/*", Absent(), [written("/etc/a/b/c")], ("/etc/a/b/c",)),
    ("/etc/*x/b", Absent(), [written("/etc/a/x/b")], None),
    ("/etc/a/b", Absent(), [written("/etc/a")], None),
    ("/etc/a/b", Absent(), [written("/etc/a/b", action="delete")], None),
    ("/etc/a/b", Absent(), [], None),
    ("/etc/a/b", Present({"paths": ("/etc/a/b",)}), [written("/etc/a/b")], ("/etc/a/b",)),
]


@pytest.mark.parametrize(("pattern", "actual", "planned", "paths"), SETTLED)
def test_unwanted_paths_that_the_plan_makes(
    pattern: str, actual: State, planned: list[Change], paths: Any
) -> None:
    resource = Resource("absent_paths", pattern, Absent(), {"pattern": pattern})
    state = AbsentPathsKind().settle(resource, actual, planned)
    assert (state.attrs["paths"] if isinstance(state, Present) else None) == paths
