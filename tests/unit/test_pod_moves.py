"""Pods are moved without one being lost: whatever the API server says, and when."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from localhost import LocalSession

from provisioner.errors import ProvisionError
from provisioner.kube import podmoves
from provisioner.kube.podmoves import Moves, bare
from provisioner.kube.workloads import Pod

KUBECTL = """#!/bin/sh
# Says the next of the answers to what is asked; the last one again and again. "!" fails.
echo "$*" >>"{root}/log"
say() {{
  n=$(cat "{root}/$1.at" 2>/dev/null || echo 1)
  [ "$n" -ge "$(wc -l <"{root}/$1")" ] || echo $((n + 1)) >"{root}/$1.at"
  line=$(sed -n "${{n}}p" "{root}/$1")
  [ "$line" != '!' ] || {{ echo "budget once forbids it" >&2; exit 1; }}
  printf '%b' "$line"
}}
case " $* " in
*there*) say lone ;;
*metadata.uid*) say uids ;;
*ownerReferences*) say rows ;;
*" create -f "*) [ ! -e "{root}/broken" ] ;;
*" create --raw "*) [ ! -e "{root}/evict" ] || say evict ;;
*" get pod "*" -o json "*) cat "{root}/pod" ;;
*" wait "*) ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
SAVED = "own/var/lib/provision/migration/pods/shop_lone.json"
LATER = "there2026-01-01T00:00:00Z"


class Plane(LocalSession):
    """This machine, with a kubectl that has an answer for each time."""

    def say(self, **answers: list[str]) -> Plane:
        for name, lines in answers.items():
            (self.root / name).write_text("".join(f"{line}\n" for line in lines))
        path = self.root / "kubectl"
        path.write_text(KUBECTL.format(root=self.root))
        path.chmod(0o755)
        return self

    def asked(self, part: str) -> int:
        return sum(part in line for line in (self.root / "log").read_text().splitlines())

    def _text(self, text: str) -> str:
        return super()._text(text).replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")


@pytest.fixture(params=["dash", "busybox"])
def plane(tmp_path: Path, request: pytest.FixtureRequest) -> Plane:
    return Plane(tmp_path, request.param)


def moves(plane: Plane) -> Moves:
    return Moves(plane, "0011aabb", lambda reading: reading.pods)


def saved(plane: Plane) -> Path:
    path = plane.root / SAVED
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return path


def test_a_saved_pod_that_is_still_ending_is_waited_for(plane: Plane) -> None:
    path = saved(plane)
    plane.say(lone=[LATER, LATER, ""])
    moves(plane).recreate_saved()
    assert plane.asked(" create -f ") == 1
    assert not path.exists()


def test_it_is_kept_where_it_cannot_be_made(plane: Plane) -> None:
    path = saved(plane)
    plane.say(lone=[""])
    (plane.root / "broken").touch()
    with pytest.raises(ProvisionError, match="could not be created again"):
        moves(plane).recreate_saved()
    assert path.exists()


def test_one_that_is_there_again_is_not_made_twice(plane: Plane) -> None:
    path = saved(plane)
    plane.say(lone=["there"])
    moves(plane).recreate_saved()
    assert plane.asked(" create -f ") == 0
    assert not path.exists()


def test_no_answer_does_not_mean_that_pods_are_gone(plane: Plane) -> None:
    plane.say(uids=["!", r"a\nb\n", r"b\n"], lone=[""])
    moves(plane)._gone([Pod("shop", "x", "worker1", (), None, uid="a")])
    assert plane.asked("metadata.uid") == 3


def test_an_evicted_pods_maker_is_whole_before_the_next_goes(plane: Plane) -> None:
    two, one = (r"StatefulSet/db  True\n" * count + r"StatefulSet/dbx  True\n" for count in (2, 1))
    leaving = r"StatefulSet/db 2026-01-01T00:00:00Z True\n" + one
    plane.say(rows=[two, leaving, one, "!", two])
    moves(plane)._evicted(Pod("shop", "db-1", "worker1", (), ("StatefulSet", "db"), uid="a"))
    assert plane.asked("eviction") == 1
    assert plane.asked("ownerReferences") == 5


def test_nothing_on_the_host_goes_on_to_evict_when_we_are_killed(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(podmoves, "time", SimpleNamespace(monotonic=time.monotonic, sleep=killed))
    plane.say(evict=["!", ""], lone=["there"])
    (plane.root / "pod").write_text('{"metadata": {"name": "lone", "namespace": "shop"}, "spec": {}}')
    with pytest.raises(KeyboardInterrupt):
        moves(plane)._evicted(Pod("shop", "lone", "worker1", (), None, uid="a"))
    assert plane.asked("eviction") == 1, "one attempt by each script, and the copy lies there before"
    assert (plane.root / SAVED).exists()


def test_an_eviction_that_a_budget_forbids_is_tried_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podmoves, "_PAUSE", 0.0)
    plane.say(evict=["!", "!", ""])
    moves(plane)._evicted(Pod("shop", "once-x", "worker1", (), ("Job", "once"), uid="a"))
    assert plane.asked("eviction") == 3


def test_who_forbids_it_for_too_long_is_named(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podmoves, "ROLL_SECONDS", 0)
    plane.say(evict=["!"])
    with pytest.raises(ProvisionError, match=r"shop/once-x cannot be evicted.*budget once forbids it"):
        moves(plane)._evicted(Pod("shop", "once-x", "worker1", (), ("Job", "once"), uid="a"))


def test_a_saved_pod_is_not_forgotten_while_a_killed_runs_script_may_end_it(plane: Plane) -> None:
    path = saved(plane)
    plane.say(lone=["there"])
    lock = plane.root / "own/run/provision/work.lock"
    lock.parent.mkdir(parents=True)
    orphan = subprocess.Popen(
        ["flock", lock, "sh", "-c", f"echo; sleep 1; echo >{plane.root}/lone"], stdout=-1
    )
    assert orphan.stdout is not None
    orphan.stdout.readline()
    moves(plane).recreate_saved()
    orphan.communicate()
    assert plane.asked(" create -f ") == 1
    assert not path.exists()


def test_the_pod_of_a_job_is_not_waited_for(plane: Plane) -> None:
    plane.say(rows=["!"])
    moves(plane)._evicted(Pod("shop", "once-x", "worker1", (), ("Job", "once"), uid="a"))
    assert plane.asked("ownerReferences") == 0


def test_a_pod_is_made_once_more_on_its_node_and_without_what_no_new_one_may_have() -> None:
    pod = {
        "metadata": {"name": "lone", "namespace": "shop", "uid": "u"},
        "spec": {
            "nodeName": "worker1",
            "containers": [{"name": "a"}],
            "ephemeralContainers": [{"name": "debug"}],
        },
    }
    made = bare(pod)
    assert made["spec"] == {
        "nodeName": "worker1",
        "containers": [{"name": "a", "volumeMounts": []}],
        "volumes": [],
    }
    assert made["metadata"] == {"name": "lone", "namespace": "shop", "annotations": {}}
