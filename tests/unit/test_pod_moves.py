"""Pods are moved without one being lost: whatever the API server says, and when."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from localhost import LocalSession
from migrations import workload

from provisioner.errors import ProvisionError
from provisioner.kube import podcopies, podmoves
from provisioner.kube.podcopies import bare, recreate_saved
from provisioner.kube.podmoves import Moves
from provisioner.kube.workloads import Pod, Workload

KUBECTL = """#!/bin/sh
# Says the next of the answers to what is asked; the last one again and again. "!" fails, with what is behind it.
echo "$*" >>"{root}/log"
say() {{
  n=$(cat "{root}/$1.at" 2>/dev/null || echo 1)
  [ "$n" -ge "$(wc -l <"{root}/$1")" ] || echo $((n + 1)) >"{root}/$1.at"
  line=$(sed -n "${{n}}p" "{root}/$1")
  case $line in
  '!') echo "Error from server (TooManyRequests): budget once forbids it" >&2; exit 1 ;;
  '!'*) echo "${{line#!}}" >&2; exit 1 ;;
  esac
  printf '%b' "$line"
}}
case " $* " in
*"]}}pod"*) say read ;;
*"]}}workload"*) [ ! -e "{root}/workload" ] || say workload ;;
*"]}}set"* | *"]}}node"*) ;;
*items*]}}{{.metadata.uid*) say uids ;;
*ownerReferences*) say rows ;;
*" create -f "*) [ ! -e "{root}/broken" ] ;;
*" get namespace "*) [ ! -e "{root}/space" ] || say space ;;
*" patch "* | *" rollout status "*) [ ! -e "{root}/refused" ] || say refused ;;
*" get statefulset "*) if [ -e "{root}/wanted" ]; then say wanted; else echo 2; fi ;;
*" get deployment "*) [ ! -e "{root}/there" ] || say there ;;
*" create --raw "*)
  cp "${{7}}" "{root}/eviction"
  [ ! -e "{root}/evict" ] || say evict
  touch "{root}/evicted" ;;
*" get pod "*" -o json "*) cat "{root}/pod" ;;
*" get pod "*) if [ -e "{root}/look" ]; then say look; elif [ ! -e "{root}/evicted" ]; then echo a,,Running; fi ;;
*" delete pod "*) ;;
*" wait "*) ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
SAVED = "own/var/lib/provision/migration/pods/shop_lone.json"
LONE: dict[str, Any] = {"metadata": {"name": "lone", "namespace": "shop", "uid": "a"}, "spec": {}}
POD = Pod("shop", "lone", "worker1", (), None, uid="a")
ROW = r"pod\tshop\tlone\tworker1\t\t10.0.0.1\tRunning\t\t\t\t\ta\n"
LATER = "a,2026-01-01T00:00:00Z,Running"


class Plane(LocalSession):
    """This machine, with a kubectl that has an answer for each time."""

    def say(self, **answers: list[str]) -> Plane:
        for name, lines in answers.items():
            (self.root / name).write_text("".join(f"{line}\n" for line in lines))
        path = self.root / "kubectl"
        path.write_text(KUBECTL.format(root=self.root))
        path.chmod(0o755)
        return self

    def has(self, pod: Mapping[str, Any] | None) -> Plane:
        """The pod that it gives away; None: there is none."""
        (self.root / "pod").write_text(json.dumps(pod) if pod else "")
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
    assert podcopies.saved(plane) == []
    path = saved(plane)
    assert podcopies.saved(plane) == ["shop/lone"]
    plane.say(look=[LATER, LATER, ""])
    recreate_saved(plane)
    assert plane.asked(" create -f ") == 1
    assert not path.exists()


def test_it_is_kept_where_it_cannot_be_made(plane: Plane) -> None:
    path = saved(plane)
    plane.say(look=[""], space=["Active"])
    (plane.root / "broken").touch()
    with pytest.raises(ProvisionError, match="could not be created again"):
        recreate_saved(plane)
    assert path.exists()


@pytest.mark.parametrize("phase", ["", "Terminating"])
def test_one_whose_namespace_goes_is_let_go_with_it(plane: Plane, phase: str) -> None:
    path = saved(plane)
    plane.say(look=[""], space=[phase])
    (plane.root / "broken").touch()
    recreate_saved(plane)
    assert not path.exists()


def test_a_workload_that_is_deleted_meanwhile_is_no_fault(plane: Plane) -> None:
    web = Workload("Deployment", "shop", "web", rolls=True, pods=1)
    plane.say(refused=["!Error from server (NotFound)"])
    moves(plane)._rolled([web])
    plane.say(there=["deployment.apps/web"])
    with pytest.raises(ProvisionError, match="NotFound"):
        moves(plane)._rolled([web])
    plane.say(refused=["", "!timed out"])
    (plane.root / "refused.at").unlink(missing_ok=True)
    with pytest.raises(
        ProvisionError, match="not all pods were made anew, and Ready, in time: deployment shop/web"
    ):
        moves(plane)._rolled([web])


def test_one_that_is_there_again_is_not_made_twice(plane: Plane) -> None:
    path = saved(plane)
    plane.say(look=["b,,Running"])
    recreate_saved(plane)
    assert plane.asked(" create -f ") == 0
    assert not path.exists()


def test_no_answer_does_not_mean_that_pods_are_gone(plane: Plane) -> None:
    plane.say(uids=["!", r"a,,Running\nb,,Running\n", r"b,,Running\n"])
    moves(plane)._gone([Pod("shop", "x", "worker1", (), None, uid="a")])
    assert plane.asked("metadata.uid") == 3


def test_who_has_ended_is_not_waited_for_and_who_is_ending_is(plane: Plane) -> None:
    plane.say(uids=[r"a,2026-01-01T00:00:00Z,Failed\nb,,Succeeded\n", r"a,,Failed\nb,,Succeeded\n"])
    moves(plane)._gone([POD, Pod("shop", "x", "worker1", (), ("Job", "once"), uid="b")])
    assert plane.asked("metadata.uid") == 2


@pytest.mark.parametrize(
    "found",
    [
        None,
        {**LONE, "status": {"phase": "Succeeded"}},
        {**LONE, "status": {"phase": "Failed"}},
        {**LONE, "metadata": {**LONE["metadata"], "uid": "b"}},
        {**LONE, "metadata": {**LONE["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
    ids=["gone", "succeeded", "failed", "another one", "deleted by others"],
)
def test_a_pod_that_needs_no_move_any_more_is_left_alone(
    plane: Plane, found: Mapping[str, Any] | None
) -> None:
    plane.say().has(found)
    moves(plane)._evicted(POD)
    assert plane.asked("eviction") == 0
    assert not (plane.root / SAVED).exists()
    plane.say(read=[ROW], uids=[""])
    assert moves(plane).replace().count == 0
    assert plane.asked(" delete pod ") == 0


def test_all_at_once_leaves_those_that_end_meanwhile(plane: Plane) -> None:
    plane.say(read=[ROW], uids=["a,,Succeeded"], look=["a,,Succeeded"]).has(LONE)
    assert moves(plane).replace().count == 1
    selector = "--field-selector=metadata.name=lone,status.phase!=Succeeded,status.phase!=Failed"
    assert plane.asked(f"-n shop delete pod --wait=false {selector}") == 1
    assert plane.asked(" create -f ") == 0


MADE = r"pod\tshop\td-x\tworker1\t\t10.0.0.1\tRunning\t\tDaemonSet\td\t\ta\n"


def daemons(ready: int) -> str:
    return (
        workload("DaemonSet", "d", ready=str(ready))
        .replace("default", "shop")
        .encode("unicode_escape")
        .decode()
    )


def test_workloads_that_were_whole_are_waited_for_and_no_others(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podmoves, "_LOOK", 0.0)
    plane.say(read=[MADE], uids=[""], workload=[daemons(2), daemons(1), daemons(0), daemons(2)])
    done = moves(plane).replace()
    assert (done.count, done.workloads, done.late) == (1, 1, ())
    assert done.seconds > 0
    assert plane.asked("]}workload") == 4
    plane.say(workload=[daemons(1)])
    (plane.root / "workload.at").unlink()
    assert moves(plane).replace().workloads == 0
    monkeypatch.setattr(podmoves, "POD_SECONDS", 0.2)
    plane.say(workload=[daemons(2), daemons(1)])
    assert moves(plane).replace().late == ("daemonset shop/d",)


@pytest.mark.parametrize("end", ["a,,Succeeded", "", "b,,Running"], ids=["ended", "gone", "another one"])
def test_one_that_ends_while_its_budget_forbids_the_eviction_does_not_run_twice(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(podmoves, "_PAUSE", 0.0)
    plane.say(evict=["!"], look=["a,,Running", end]).has(LONE)
    moves(plane)._evicted(POD)
    assert plane.asked("eviction") == 1
    assert plane.asked(" create -f ") == 0
    assert not (plane.root / SAVED).exists()


def test_one_whose_eviction_was_not_answered_is_created_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podmoves, "_PAUSE", 0.0)
    plane.say(evict=["!net/http: request canceled", "!"], look=["a,,Running", "a,,Running", ""])
    moves(plane.has(LONE))._evicted(POD)
    assert plane.asked(" create -f ") == 1


@pytest.mark.parametrize(
    "said",
    [
        'Error from server (NotFound): pods "db-1" not found',
        'Error from server (Conflict): cannot be done on Pod "db-1": the UID in the precondition (a) does not match',
    ],
)
def test_the_one_that_came_in_its_place_is_not_evicted(plane: Plane, said: str) -> None:
    plane.say(rows=["StatefulSet/db  True"], evict=[f"!{said}"], look=["a,,Running", "b,,Running"])
    moves(plane)._evicted(Pod("shop", "db-1", "worker1", (), ("StatefulSet", "db"), uid="a"))
    assert sum("eviction.json" in each.payload for each in plane.sent) == 1, (
        "it is success, and not tried again"
    )
    sent = json.loads((plane.root / "eviction").read_text())
    assert sent["deleteOptions"] == {"preconditions": {"uid": "a"}}


def test_another_conflict_is_no_end(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podmoves, "_PAUSE", 0.0)
    plane.say(evict=["!Error from server (Conflict): the object has been modified", ""])
    moves(plane)._evicted(Pod("shop", "once-x", "worker1", (), ("Job", "once"), uid="a"))
    assert plane.asked("eviction") == 2


def test_a_jobs_pod_that_has_ended_is_not_evicted(plane: Plane) -> None:
    plane.say(look=["a,,Succeeded"])
    moves(plane)._evicted(Pod("shop", "once-x", "worker1", (), ("Job", "once"), uid="a"))
    assert plane.asked("eviction") == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_they_pass_shellcheck(plane: Plane) -> None:
    plane.say(uids=[""]).has(LONE)
    moves(plane)._evicted(POD)
    moves(plane)._gone([POD])
    for script in plane.sent:
        text = script.main.encode()
        subprocess.run(["shellcheck", "-s", "sh", "-e", "SC2154", "-"], input=text, check=True)


def test_an_evicted_pods_maker_is_whole_before_the_next_goes(plane: Plane) -> None:
    two, one = (r"StatefulSet/db  True\n" * count + r"StatefulSet/dbx  True\n" for count in (2, 1))
    leaving = r"StatefulSet/db 2026-01-01T00:00:00Z True\n" + one
    plane.say(rows=[two, leaving, one, "!", two])
    moves(plane)._evicted(Pod("shop", "db-1", "worker1", (), ("StatefulSet", "db"), uid="a"))
    assert plane.asked("eviction") == 1
    assert plane.asked("ownerReferences") == 5


@pytest.mark.parametrize(
    ("wanted", "left", "enough"),
    [("1", 1, True), ("2", 1, False), ("", 0, True), ("", 1, False), ("!", 1, False)],
    ids=["scaled down", "as before", "deleted", "another's of that kind", "not known"],
)
def test_a_maker_that_wants_fewer_meanwhile_is_not_waited_for(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, wanted: str, left: int, enough: bool
) -> None:
    monkeypatch.setattr(podmoves, "ROLL_SECONDS", 1)
    two, rest = (r"StatefulSet/db  True\n" * count for count in (2, left))
    plane.say(rows=[two, rest], wanted=[wanted])
    pod = Pod("shop", "db-1", "worker1", (), ("StatefulSet", "db"), uid="a")
    with nullcontext() if enough else pytest.raises(ProvisionError, match="is not Ready"):
        moves(plane)._evicted(pod)


OTHERS = r"pod\tshop\tweb-y\tworker2\t\t10.0.0.2\tRunning\t\tDaemonSet\td\t\tb\n"
MEASURING = r"pod\tprovision-exchange\tx\tworker1\t\t10.0.0.3\tRunning\t\tDaemonSet\td\t\tc\n"


def test_pods_that_a_rollout_takes_along_are_counted_and_our_own_are_not(plane: Plane) -> None:
    plane.say(read=[MADE + OTHERS, ""], uids=[""], workload=[daemons(2)])
    assert moves(plane).roll("worker1") == 2
    (plane.root / "read.at").unlink()
    plane.say(read=[MADE + MEASURING, ""])
    assert moves(plane).roll("worker1") == 1


def test_nothing_on_the_host_goes_on_to_evict_when_we_are_killed(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(podmoves, "time", SimpleNamespace(monotonic=time.monotonic, sleep=killed))
    plane.say(evict=["!", ""])
    plane.has(LONE)
    with pytest.raises(KeyboardInterrupt):
        moves(plane)._evicted(POD)
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
    plane.say(look=["a,,Running"])
    lock = plane.root / "own/run/provision/work.lock"
    lock.parent.mkdir(parents=True)
    orphan = subprocess.Popen(
        ["flock", lock, "sh", "-c", f"echo; sleep 1; echo >{plane.root}/look"], stdout=-1
    )
    assert orphan.stdout is not None
    orphan.stdout.readline()
    recreate_saved(plane)
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
