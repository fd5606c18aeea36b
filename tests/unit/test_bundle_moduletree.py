"""Files that an image takes out of its module as they are, and what is edited in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.bundle import moduletree, rootfs
from provisioner.bundle.archive import Entry
from provisioner.bundle.catalogue import Edit, File, ImageRecipe
from provisioner.errors import ProvisionError

TEMPLATE = "if a then\n  tunnel = 1;\nelse\n  tunnel = 2;\naccept;"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """As Go's cache has modules: without modes."""
    for name, text in {
        "files/etc/template": TEMPLATE,
        "files/etc/service/felix/run": "#!/bin/sh\nexec felix\n",
        "files/sbin/start": "#!/bin/sh\n",
        "other/typha.cfg": "[global]\n",
        "other/Dockerfile": "FROM scratch\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o444)
    return tmp_path


def recipe(tree: dict[str, str], *edits: Edit) -> ImageRecipe:
    return ImageRecipe((), (), tree=tuple(tree.items()), edits=edits)


TREE = {"/etc": "files/etc", "/usr/sbin": "files/sbin", "/etc/typha.cfg": "other/typha.cfg"}


def content(entry: Entry) -> str:
    if entry.file is not None:
        return entry.file.read_text()
    assert entry.data is not None
    return entry.data.decode()


def test_directories_and_single_files(module: Path) -> None:
    found = {entry.path: entry for entry in moduletree.entries(recipe(TREE), module)}
    assert {path: oct(entry.mode) for path, entry in found.items()} == {
        "/etc/template": "0o644",
        "/etc/service/felix/run": "0o755",
        "/usr/sbin/start": "0o755",
        "/etc/typha.cfg": "0o644",
    }
    assert content(found["/etc/template"]) == TEMPLATE
    assert content(found["/etc/typha.cfg"]) == "[global]\n"


def test_an_edit_leaves_out_lines_of_its_file_only(module: Path) -> None:
    (module / "files/etc/other").write_text(TEMPLATE)
    edited = recipe(TREE, Edit("/etc/template", r"tunnel = \d"))
    found = {entry.path: content(entry) for entry in moduletree.entries(edited, module)}
    assert found["/etc/template"] == "if a then\nelse\naccept;"
    assert found["/etc/other"] == TEMPLATE
    assert (module / "files/etc/template").read_text() == TEMPLATE


def test_a_script_that_does_not_say_what_it_is_started_by(module: Path) -> None:
    (module / "files/etc/rc.local").write_text("calico-node -startup\n")
    wanted = replace(recipe(TREE), scripts=("/etc/rc.local",))
    found = {entry.path: entry.mode for entry in moduletree.entries(wanted, module)}
    assert (found["/etc/rc.local"], found["/etc/template"]) == (0o755, 0o644)


def test_two_edits_of_one_file(module: Path) -> None:
    edited = recipe(TREE, Edit("/etc/template", "tunnel"), Edit("/etc/template", "^else$"))
    found = {entry.path: content(entry) for entry in moduletree.entries(edited, module)}
    assert found["/etc/template"] == "if a then\naccept;"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (recipe(TREE, Edit("/etc/template", "krt_tunnel")), "/etc/template has no line with 'krt_tunnel'"),
        (recipe(TREE, Edit("/etc/nothing", "x")), "no /etc/nothing from its module"),
        (replace(recipe(TREE), scripts=("/usr/bin/x",)), "no /usr/bin/x from its module"),
        (recipe({"/etc": "files/nothing"}), "no files at files/nothing"),
    ],
)
def test_what_the_module_does_not_have(module: Path, wanted: ImageRecipe, reason: str) -> None:
    with pytest.raises(ProvisionError, match=reason):
        moduletree.entries(wanted, module)


def test_files_and_links_of_the_recipe_itself() -> None:
    own = ImageRecipe(
        (),
        (),
        files=(File("/etc/hosts", "127.0.0.1 localhost\n"), File("/status", owner=999, mode="0600")),
        links=(("/opt/cni/bin/calico-ipam", "calico"),),
    )
    assert list(rootfs.entries(own, {}, (), "amd64")) == [
        Entry("/opt/cni/bin/calico-ipam", link="calico"),
        Entry("/etc/hosts", data=b"127.0.0.1 localhost\n", mode=0o644),
        Entry("/status", data=b"", mode=0o600, owner=999),
    ]
