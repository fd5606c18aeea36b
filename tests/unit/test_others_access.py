"""How this tool gets at a cluster that others have built, and that it leaves its first control plane as it was."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from localhost import LocalSession

from provisioner.action.migration.othersthere import open_access
from provisioner.errors import ProvisionError
from provisioner.spec.model import Existing

PROGRAM, CONFIG, MARK = (
    "opt/kubernetes/bin/kubectl",
    "etc/kubernetes/admin.kubeconfig",
    "own/var/lib/provision",
)


class Plane(LocalSession):
    """This machine, with the cluster's folders below `root`."""

    def write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)

    def link(self, path: str, target: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(self.root / target)

    def seen(self) -> dict[str, str]:
        """What lies in the cluster's folders: texts, and where links lead to."""
        places = sorted(each for name in ("opt", "etc") for each in (self.root / name).rglob("*"))
        return {
            str(each.relative_to(self.root)): str(each.readlink()) if each.is_symlink() else each.read_text()
            for each in places
            if each.is_symlink() or each.is_file()
        }

    def _text(self, text: str) -> str:
        # This machine may have a kubectl of its own.
        text = super()._text(text).replace('PATH="$PATH:/usr/local/bin:', 'PATH="')
        for path in ("/opt/kubernetes", "/etc/kubernetes"):
            text = text.replace(path, f"{self.root}{path}")
        return text


@pytest.fixture(params=["dash", "busybox"])
def plane(tmp_path: Path, request: pytest.FixtureRequest) -> Plane:
    one = Plane(tmp_path, request.param)
    one.write("opt/their/bin/kubectl", "#!/bin/sh\n")
    one.write("etc/their.conf", "theirs")
    return one


def opened(plane: Plane, stack: ExitStack) -> None:
    existing = Existing("kubeadm", f"{plane.root}/opt/their", admin_kubeconfig=f"{plane.root}/etc/their.conf")
    open_access(stack, plane, "here", existing)  # type: ignore[arg-type]


def test_links_of_ours_go_afterwards(plane: Plane) -> None:
    before = plane.seen()
    with ExitStack() as stack:
        opened(plane, stack)
        assert (plane.root / PROGRAM).is_symlink()
        assert (plane.root / CONFIG).read_text() == "theirs"
    assert plane.seen() == before
    assert not (plane.root / "opt/kubernetes").exists()
    assert not (plane.root / MARK / "migration").exists()


def test_links_of_others_stay(plane: Plane) -> None:
    plane.link(PROGRAM, "opt/their/bin/kubectl")
    plane.link(CONFIG, "etc/their.conf")
    before = plane.seen()
    with ExitStack() as stack:
        opened(plane, stack)
    assert plane.seen() == before


def test_after_a_run_that_was_killed_its_links_go_and_those_of_others_stay(plane: Plane) -> None:
    plane.link(CONFIG, "etc/their.conf")
    before = plane.seen()
    killed = ExitStack()
    opened(plane, killed)
    killed.pop_all()
    assert plane.seen() != before
    with ExitStack() as stack:
        opened(plane, stack)
    assert plane.seen() == before


def test_what_somebody_has_put_in_place_of_our_link_stays(plane: Plane) -> None:
    plane.write("opt/other", "#!/bin/sh\n")
    with ExitStack() as stack:
        opened(plane, stack)
        (plane.root / PROGRAM).unlink()
        plane.link(PROGRAM, "opt/other")
    assert plane.seen()[PROGRAM] == f"{plane.root}/opt/other"


def test_a_link_of_others_that_leads_nowhere_is_not_replaced(plane: Plane) -> None:
    plane.link(PROGRAM, "opt/gone")
    before = plane.seen()
    with pytest.raises(ProvisionError), ExitStack() as stack:
        opened(plane, stack)
    assert plane.seen() == before


def test_two_kubeconfigs_that_differ_are_refused(plane: Plane) -> None:
    plane.write(CONFIG, "of another cluster")
    before = plane.seen()
    with (
        pytest.raises(ProvisionError, match="is there, and another one than") as caught,
        ExitStack() as stack,
    ):
        opened(plane, stack)
    assert f"say admin_kubeconfig: /{CONFIG} if that one is meant" in caught.value.hint
    assert plane.seen() == before
    plane.write(CONFIG, "theirs")
    with ExitStack() as stack:
        opened(plane, stack)


def test_a_kubeconfig_of_ours_is_taken_where_this_tool_has_applied(plane: Plane) -> None:
    plane.write(CONFIG, "ours")
    plane.write(f"{MARK}/cluster.json", "{}")
    with ExitStack() as stack:
        opened(plane, stack)
    assert (plane.root / CONFIG).read_text() == "ours"
