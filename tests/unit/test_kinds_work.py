"""Commands, archives, unwanted paths and stamps: their scripts run for real."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from localhost import SHELLS, Here

from provisioner.action.kinds import base_modules
from provisioner.engine.events import Changed
from provisioner.engine.plan import Desired
from provisioner.resources.absent import paths_of
from provisioner.resources.archive import _STATS as STATS
from provisioner.resources.model import Change, Present, Resource
from provisioner.resources.stamps import READ, parse_stamps
from provisioner.shell.assemble import StepRecord, change_script, parse_probes, parse_steps, probe_script
from provisioner.shell.quote import quote
from provisioner.shell.script import Script


@pytest.fixture(params=SHELLS)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    return Here(tmp_path, request.param)


def actions(changes: list[Change]) -> dict[str, str]:
    return {change.resource.id.partition(":")[0]: change.action for change in changes}


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


MEMBERS = [
    member("./", type=tarfile.DIRTYPE, mode=0o755),
    member("./sub", type=tarfile.DIRTYPE, mode=0o750),
    member("./empty folder/", type=tarfile.DIRTYPE, mode=0o700),
    member("./sub/one", b"one\n", mode=0o755),
    member("./-n", b"dashed\n", mode=0o644),
    member("./größe 'x' $HOME", b"", mode=0o600),
    member("./hard", type=tarfile.LNKTYPE, linkname="./sub/one"),
    member("./soft", type=tarfile.SYMTYPE, linkname="sub/one"),
]


def pack(path: Path, *, zipped: bool = True, members: Any = MEMBERS) -> str:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(gzip.compress(out.getvalue()) if zipped else out.getvalue())
    return str(path)


UNSEEN_WITHIN_A_SECOND = ["echo two >sub/one", "touch ./-n"]
"""By busybox's stat, whose times are whole seconds; hosts have that of coreutils."""
DAMAGES = [
    *UNSEEN_WITHIN_A_SECOND,
    "rm sub/one; printf 'one\\n' >sub/one; chmod 755 sub/one",
    "rm ./-n",
    "rmdir 'empty folder'",
    "chmod 777 sub",
    "rm soft; ln -s ./-n soft",
    "rm -r sub; ln -s . sub",
]


@pytest.mark.parametrize("zipped", [True, False])
def test_archive(here: Here, zipped: bool) -> None:
    task = {"unarchive": {"src": pack(here.book / "a.tgz", zipped=zipped), "dest": "{{ root }}/to here's"}}
    desired = here.desired([task])
    assert here.apply(desired) is None
    for damage in DAMAGES if here.session.shell == "dash" else DAMAGES[2:]:
        here.shell(f"sleep 0.01; {damage}", "to here's")
        assert actions(here.changes(desired)) == {"unarchive": "create"}, damage
        if "ln -s . sub" in damage:
            here.shell("rm sub", "to here's")
        assert here.apply(desired) is None, damage
    here.shell(
        'test ! -e .provision.archive; test sub/one -ef hard; test "$(stat -c %a sub)" = 750', "to here's"
    )


def test_archive_leaves_other_files_alone(here: Here) -> None:
    desired = here.desired([{"unarchive": {"src": pack(here.book / "a.tgz"), "dest": "{{ root }}/to"}}])
    here.shell("mkdir to; echo mine >to/theirs")
    assert here.apply(desired) is None
    here.shell("echo more >>theirs; echo x >sub/new", "to")
    assert here.changes(desired) == []


def test_another_archive_of_that_name(here: Here) -> None:
    """What the archive held is known by its digest, not by its name."""
    task = {"unarchive": {"src": str(here.book / "a.tgz"), "dest": "{{ root }}/to"}}
    pack(here.book / "a.tgz")
    assert here.apply(here.desired([task])) is None
    pack(here.book / "a.tgz", members=[member("new", b"x")])
    assert actions(here.changes(here.desired([task]))) == {"unarchive": "update"}
    assert here.apply(here.desired([task])) is None


CONTENTS = ["echo two >sub/one", "rm soft; ln -s ./-n soft"]
"""What the stat tells, too; here the record of it is made anew, as if it told nothing."""


@pytest.mark.parametrize("damage", CONTENTS)
def test_deep_reads_what_an_archive_was_unpacked_to(damage: str, here: Here, tmp_path: Path) -> None:
    task = {"unarchive": {"src": pack(here.book / "a.tgz"), "dest": "{{ root }}/to"}}
    assert here.apply(here.desired([task])) is None
    (tmp_path / "deep").mkdir()
    deep = Here(tmp_path / "deep", here.session.shell, base_modules(deep=True))
    deep.session.root, deep.target = here.session.root, here.target
    assert deep.changes(deep.desired([task])) == []
    here.shell(f"sleep 1.1; {damage}", "to")
    forged = 'cd /var/lib/provision/archives && n=$(ls "$PWD"/*.stat) && n=${n%.stat}\n'
    forged += f'cd {quote(str(here.target / "to"))} && stats "$n" | sha256sum >"$n.stat"\n'
    assert here.session.run(Script(STATS + forged)).status == 0
    assert here.changes(here.desired([task])) == []
    (change,) = deep.changes(deep.desired([task]))
    assert (change.action, change.keys) == ("update", ("contents",))


def test_two_archives_whose_names_look_alike(here: Here) -> None:
    pack(here.book / "b_c")
    pack(here.book / "c", members=[member("new", b"x")])
    first = {"unarchive": {"src": str(here.book / "b_c"), "dest": "{{ root }}/a"}}
    second = {"unarchive": {"src": str(here.book / "c"), "dest": "{{ root }}/a_b"}}
    assert here.apply(here.desired([first, second])) is None


def test_damaged_stream_is_refused_and_the_old_content_stays(here: Here) -> None:
    large = here.book / "large"
    large.write_bytes(b"a" * 2_000_000)
    here.shell("echo old >x")
    changes = here.changes(here.desired([{"copy": {"dest": "{{ root }}/x", "src": str(large)}}]))
    large.write_bytes(b"b" * 2_000_000)
    failure = here.carry_out(changes)
    assert failure is not None
    assert "is damaged: its SHA-256 is not" in failure.stderr
    here.shell("grep -qx old x; test ! -e .x.provision")


def test_command_with_creates_and_unless(here: Here) -> None:
    tasks: list[dict[str, Any]] = [
        {"command": {"cmd": "echo 'it is $HOME' >made", "creates": "{{ root }}/made", "chdir": "{{ root }}"}},
        {"command": {"cmd": "printf x >>log", "unless": "grep -q xx log", "chdir": "{{ root }}"}},
        {"command": {"cmd": "false", "unless": "true"}},
    ]
    desired = here.desired(tasks)
    here.shell("printf x >log")
    assert here.apply(desired) is None
    assert (here.target / "log").read_text() == "xx"
    assert "HOME" in (here.target / "made").read_text()
    here.shell("rm made; ln -s nowhere made")
    assert len(here.changes(desired)) == 1, "a link that leads nowhere counts as not made"


def test_command_runs_nowhere_else_than_in_its_folder(here: Here) -> None:
    task = {
        "command": {"cmd": "true; touch here", "creates": "{{ root }}/here", "chdir": "{{ root }}/nowhere"}
    }
    failure = here.apply(here.desired([task]))
    assert failure is not None
    assert "nowhere" in failure.stderr
    assert not (here.target / "here").exists()


def test_command_that_an_orphan_has_done_meanwhile(here: Here) -> None:
    task = {"command": {"cmd": "echo x >>log", "unless": "test -e log", "chdir": "{{ root }}"}}
    changes = here.changes(here.desired([task]))
    assert here.carry_out(changes) is None
    assert here.carry_out(changes) is None
    assert (here.target / "log").read_text() == "x\n"


def test_command_that_fails_tells_what_it_said(here: Here) -> None:
    tasks = [
        {"copy": {"dest": "{{ root }}/a", "content": "x"}},
        {"command": {"cmd": "echo out; echo 'no such luck' >&2; exit 7", "unless": "false"}},
        {"copy": {"dest": "{{ root }}/b", "content": "x"}},
    ]
    failure = here.apply(here.desired(tasks))
    assert failure is not None
    assert (failure.status, failure.resource.partition(":")[0]) == (7, "command")
    assert "no such luck" in failure.stderr
    assert "exit 7" in failure.script_line
    assert failure.done == (f"file:{here.target}/a",)
    assert len(failure.undone) == 2
    assert not (here.target / "b").exists()


def test_command_that_changes_nothing_is_a_failure(here: Here) -> None:
    failure = here.apply(here.desired([{"command": {"cmd": "true", "creates": "{{ root }}/never"}}]))
    assert failure is not None
    assert "read again it is still absent" in failure.reason


def test_absent_paths(here: Here) -> None:
    here.shell(
        "mkdir -p 'a b' k; : >'a b/x.conf'; ln -s nowhere 'a b/y.conf'; : >'a b/z'; : >k/n; : >'k/!m'; : >k/k"
    )
    here.shell('printf x >"a b/new\nline.conf"')
    paths = ["{{ root }}/a b/*.conf", "{{ root }}/k/[!k]*", "{{ root }}/nothing/*"]
    desired = here.desired([{"absent_paths": {"paths": paths}}])
    changes = here.changes(desired)
    before = [change.before for change in changes]
    assert all(paths_of(state, "foreign") == paths_of(state, "paths") for state in before)  # type: ignore[arg-type]
    assert [len(state.attrs["paths"]) for state in before if isinstance(state, Present)] == [3, 2]  # type: ignore[arg-type]
    assert here.carry_out(changes) is None
    assert here.changes(desired) == []
    here.shell("test -f 'a b/z'; test -f k/k; test ! -e k/n; test ! -e 'k/!m'")


def test_what_may_be_read_first_stays(here: Here) -> None:
    here.shell("mkdir -p net.d; cd net.d; : >00-multus.conf; : >00-other.conf; : >10-calico.conflist")
    task = {
        "folder": "{{ root }}/net.d",
        "first": "10-calico.conflist",
        "suffixes": [".conf", ".conflist"],
        "but": ["00-multus.conf", "00-multus.conflist"],
    }
    desired = here.desired([{"displaced_paths": task}])
    assert here.carry_out(here.changes(desired)) is None
    assert here.changes(desired) == []
    here.shell("test -e 00-multus.conf; test ! -e 00-other.conf; test -e 10-calico.conflist", "net.d")


def test_what_would_be_read_first_is_moved_aside(here: Here) -> None:
    here.shell(
        "mkdir -p net.d/05-dir.conf; cd net.d; echo old >10-calico.conflist; echo own >10-flannel.conflist\n"
        ": >10-flannel.conf; : >87-podman.conflist; : >00-notes.txt; ln -s nowhere '0 a.json'; : >Z.conf"
    )
    desired = here.desired(
        [
            {
                "displaced_paths": {
                    "folder": "{{ root }}/net.d",
                    "first": "10-flannel.conflist",
                    "suffixes": [".conf", ".conflist", ".json"],
                }
            }
        ]
    )
    for turn in range(2):
        (change,) = here.changes(desired)
        assert isinstance(change.before, Present)
        names = [str(path).rpartition("/")[2] for path in change.before.attrs["paths"]]  # type: ignore[union-attr]
        assert (
            sorted(names)
            == [["0 a.json", "10-calico.conflist", "10-flannel.conf"], ["10-calico.conflist"]][turn]
        )
        assert here.carry_out([change]) is None
        told = here.events[-1]
        assert isinstance(told, Changed)
        assert told.detail == f"moves aside {', '.join(names)}"
        assert here.changes(desired) == []
        here.shell("echo again >10-calico.conflist", "net.d")
    here.shell(
        "test -d 05-dir.conf; test -e 10-flannel.conflist; test -e 87-podman.conflist; test -e Z.conf",
        "net.d",
    )
    kept = f"{here.session.root}/own/var/lib/provision/displaced{here.target}/net.d"
    assert Path(kept, "10-calico.conflist").read_text() == "old\n"
    assert Path(kept, "10-calico.conflist.2").read_text() == "again\n"
    assert Path(kept, "0 a.json").is_symlink()


def test_absent_paths_knows_what_the_tool_put_there(here: Here) -> None:
    """A stamp speaks for a file until it is touched; what the plan itself writes is not foreign either."""
    here.shell("mkdir d; : >d/ours; : >d/theirs; : >d/touched; : >d/written")
    stamps = "".join(f"stamp {quote(f'{here.target}/d/{name}')} x\n" for name in ("ours", "touched"))
    here.session.run(change_script([Script(stamps)], [StepRecord("{}")], []))
    here.shell("sleep 1.1; echo more >d/touched")
    gone = {"absent_paths": {"paths": ["{{ root }}/d/*"]}}
    written = {"copy": {"dest": "{{ root }}/d/written", "content": "x"}}
    change = here.changes(here.desired([written, gone]))[-1]
    assert isinstance(change.before, Present)
    names = {key: [Path(path).name for path in paths_of(change.before, key)] for key in ("paths", "foreign")}
    assert names == {"paths": ["ours", "theirs", "touched", "written"], "foreign": ["theirs", "touched"]}


def test_what_is_half_written_when_it_fails_does_not_stay(here: Here) -> None:
    task = {"copy": {"dest": "{{ root }}/x", "content": "secret", "secret": True, "owner": "nobody-here"}}
    failure = here.apply(here.desired([task]))
    assert failure is not None
    assert "nobody-here" in failure.stderr
    here.shell('test -z "$(ls -A)"')


def test_journal_and_events_follow_what_was_done(here: Here) -> None:
    desired = here.desired([{"copy": {"dest": "{{ root }}/it's", "content": "x"}}])
    assert here.apply(desired) is None
    journal = (here.session.root / "own/var/lib/provision/journal").read_text()
    assert journal.count("\n") == 1
    assert "it's" in journal
    assert [type(event).__name__ for event in here.events] == ["HostChanging", "Changed"]


def test_stamp_speaks_for_the_file_until_it_is_touched(here: Here) -> None:
    path = here.target / "a b"
    digest = "0" * 64

    def read() -> dict[str, str]:
        result = here.session.run(probe_script([Script(READ)]))
        return parse_stamps(parse_probes(result.stdout)[0].stdout)

    def stamp() -> None:
        path.write_bytes(b"x")
        script = change_script([Script(f"stamp {quote(str(path))} {digest}\n")], [StepRecord("{}")], [])
        assert parse_steps(here.session.run(script).stdout).ok == (0,)

    assert read() == {}
    stamp()
    assert read() == {str(path): digest}
    here.shell("sleep 1.1; printf y >'a b'")
    assert read() == {}
    stamp()
    here.shell("cp 'a b' c; mv c 'a b'")
    assert read() == {}
    stamp()
    path.unlink()
    assert read() == {}


# Not busybox: its own flock waits without a time limit only; hosts have util-linux.
@pytest.mark.parametrize("here", ["dash"], indirect=True)
def test_lock_keeps_a_second_script_waiting(here: Here) -> None:
    """An orphan of a dead run and a new run never write at the same time."""
    first = here.desired(
        [{"command": {"cmd": "sleep 1; test ! -e b; : >a", "creates": "{{ root }}/a", "chdir": "{{ root }}"}}]
    )
    second = here.desired([{"command": {"cmd": ": >b", "creates": "{{ root }}/b", "chdir": "{{ root }}"}}])
    changes = here.changes(Desired("stage", {"here": (*first.hosts["here"], *second.hosts["here"])}))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(here.carry_out, changes[:1])
        import time

        time.sleep(0.4)
        fast = threads.submit(here.carry_out, changes[1:])
        assert slow.result() is None
        assert fast.result() is None
    assert any("waiting for a script" in str(event) for event in here.events)


def test_deleting_one_that_went_by_itself_is_no_failure(here: Here) -> None:
    here.shell("mkdir d; : >d/a")
    desired = here.desired([{"file": {"path": "{{ root }}/d/a", "state": "absent"}}])
    changes = here.changes(desired)
    here.shell("rm d/a")
    assert here.carry_out(changes) is None


def test_resource_ids_are_one_per_thing(here: Here) -> None:
    resources = here.desired([{"copy": {"dest": "{{ root }}/a", "content": "x"}}]).hosts["here"]
    assert [each.id for each in resources] == [f"file:{here.target}/a"]
    assert all(isinstance(each, Resource) for each in resources)
