"""Packages of operating systems: from an archive (a folder that apt reads as one) into a bundle, and who gets them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_preflight import GOOD

from provisioner.action.ospackages import check_packages, files_for
from provisioner.bundle import catalogue, ospackages, write
from provisioner.bundle.apt import parse_paragraphs
from provisioner.bundle.catalogue import Distribution
from provisioner.bundle.layout import Bundle
from provisioner.bundle.mirror import archives_for
from provisioner.bundle.store import Store
from provisioner.engine.events import Event, Note, silent
from provisioner.errors import ProvisionError
from provisioner.playbook.distributions import distribution_of, distributions, packages_by_id
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts

SYSTEM = Distribution("debian", "12", "bookworm", ("runtime", "tool"), "linux/amd64")
PACKAGES: list[dict[str, str]] = [
    {"Package": "apt", "Priority": "required"},
    {"Package": "libbase", "Priority": "required"},
    {"Package": "libextra", "Version": "1:2.0"},
    {"Package": "runtime", "Depends": "libbase, libextra (>= 1:1)", "Recommends": "tool"},
    {"Package": "tool"},
    {"Package": "unasked"},
]


def archive(root: Path) -> Path:
    """An archive of bookworm below `root`; returns the folder that stands for /etc/apt."""
    lists = root / "dists/bookworm/main/binary-amd64"
    lists.mkdir(parents=True)
    (root / "pool").mkdir()
    text = []
    for fields in PACKAGES:
        tree = root / "tree" / fields["Package"]
        (tree / "DEBIAN").mkdir(parents=True)
        whole = {"Version": "1.0", "Architecture": "amd64", "Maintainer": "t <t@example.org>", **fields}
        control = "".join(f"{key}: {value}\n" for key, value in whole.items())
        (tree / "DEBIAN/control").write_text(f"{control}Description: test\n")
        deb = root / "pool" / f"{fields['Package']}.deb"
        subprocess.run(["dpkg-deb", "-b", tree, deb], check=True, capture_output=True)
        done = subprocess.run(["sha256sum", deb], check=True, capture_output=True, text=True)
        place = f"Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {done.stdout.split()[0]}\n"
        text.append(f"{control}{place}")
    (lists / "Packages").write_text("\n".join(text))
    etc = root / "etc"
    etc.mkdir()
    (etc / "sources.list").write_text(f"deb [trusted=yes] file:{root} bookworm main\n")
    return etc


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    return archive(tmp_path / "archive")


@pytest.fixture
def bundle(tmp_path: Path, etc: Path) -> Bundle:
    return made(tmp_path, etc)


def made(tmp_path: Path, etc: Path) -> Bundle:
    store = Store(tmp_path / "store")
    resolved = ospackages.resolve(SYSTEM, store, silent, etc)
    finished = ospackages.make(SYSTEM, resolved, store, silent)
    write.write_bundle([finished], store, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def test_what_is_wanted_comes_with_what_it_needs_beyond_the_base(bundle: Bundle) -> None:
    packages = bundle.packages("debian-12")
    assert packages is not None
    assert set(packages.packages) == {"runtime", "libextra", "tool"}, (
        "neither the base nor what is recommended"
    )
    assert packages.packages["runtime"].needs == ("libextra", "runtime")
    assert packages.packages["libextra"].file == "libextra_2.0_amd64.deb"
    assert [each.name for each in packages.with_needs(["tool"])] == ["tool"]
    assert packages.missing(["tool", "libextra", "nothing"]) == ("libextra", "nothing")
    assert bundle.packages("debian-13") is None


def test_the_list_names_each_file_with_its_digest(bundle: Bundle) -> None:
    packages = bundle.packages("debian-12")
    assert packages is not None
    for name, said in packages.paragraphs.items():
        file = packages.packages[name]
        assert said["SHA256"] == file.sha256 == file.path.name
        assert (said["Filename"], int(said["Size"])) == (f"./{file.file}", file.size)
    assert packages.paragraphs["runtime"]["Depends"] == "libbase, libextra (>= 1:1)"
    assert list(parse_paragraphs("\n\nA: b\nPackage: c\n d\n\n")) == [{"Package": "c"}]


def test_a_second_build_asks_nobody(tmp_path: Path, etc: Path) -> None:
    first = made(tmp_path, etc)
    subprocess.run(["rm", "-r", tmp_path / "archive/pool", tmp_path / "archive/dists"], check=True)
    assert made(tmp_path, etc).digest == first.digest


def test_an_archive_that_is_gone_leaves_what_was(tmp_path: Path, etc: Path) -> None:
    """The machine's lists are newer, and its mirror does not answer."""
    store, said = Store(tmp_path / "store"), list[Event]()
    first = ospackages.resolve(SYSTEM, store, silent, etc)
    moved = tmp_path / "other-etc"
    moved.mkdir()
    (moved / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/nowhere bookworm main\n")
    assert ospackages.resolve(SYSTEM, store, said.append, moved) == first
    assert any(isinstance(each, Note) and "stay as they were" in each.message for each in said)
    with pytest.raises(ProvisionError):
        ospackages.resolve(SYSTEM, Store(tmp_path / "fresh"), silent, moved)


def test_a_build_that_was_cut_off_fetches_what_is_missing_only(tmp_path: Path, etc: Path) -> None:
    first = made(tmp_path, etc)
    packages = first.packages("debian-12")
    assert packages is not None
    (tmp_path / "store/blobs/sha256" / packages.packages["tool"].sha256).unlink()
    (tmp_path / "archive/pool/runtime.deb").unlink()
    assert made(tmp_path, etc).digest == first.digest


def test_a_file_that_is_not_what_the_list_says_is_refused(tmp_path: Path, etc: Path) -> None:
    with (tmp_path / "archive/pool/tool.deb").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ProvisionError, match="apt-get"):
        made(tmp_path, etc)


def test_a_package_that_the_archive_has_not_is_named(tmp_path: Path, etc: Path) -> None:
    with pytest.raises(ProvisionError, match="the archive of bookworm has no package nothing"):
        ospackages.resolve(replace(SYSTEM, packages=("nothing",)), Store(tmp_path / "s"), silent, etc)


def test_updates_come_from_where_the_machine_has_its_own(tmp_path: Path) -> None:
    text = "deb http://a/debian bookworm main\ndeb http://a/debian bookworm-updates main\n"
    (tmp_path / "sources.list").write_text(
        f"{text}deb http://b/debian-security bookworm-security main contrib\n"
    )
    found = [(each.uri, each.suites, each.components) for each in archives_for("trixie", tmp_path)]
    assert found == [
        ("http://a/debian", ("trixie",), ("main",)),
        ("http://a/debian", ("trixie-updates",), ("main",)),
        ("http://b/debian-security", ("trixie-security",), ("main",)),
    ]


def host(**changed: Any) -> Facts:
    return Facts(**{**GOOD, "missing_packages": ("tool",), "package_sources": False, **changed})


def test_the_bundle_is_for_those_who_reach_nothing(bundle: Bundle) -> None:
    facts = {
        "alone": host(),
        "linked": host(package_sources=True),
        "ready": host(missing_packages=()),
    }
    said: list[Event] = []
    check_packages(facts, bundle, said.append)
    (note,) = said
    assert isinstance(note, Note)
    assert note.message.startswith("alone: packages come from the bundle")
    files = files_for(facts, bundle)
    assert list(files) == ["alone"]
    assert [each.name for each in files["alone"]("runtime")] == ["libextra", "runtime"]
    assert files["alone"]("libextra") == ()


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"os_id": "rocky", "os_version": "9.4"}, "a: lacks tool; .* the bundle has none for rocky 9.4"),
    ({"os_version": "11"}, "a: lacks tool; .* for debian 11"),
    ({"architecture": "arm64"}, r"a: lacks tool; .* for debian 12 \(arm64\)"),
    ({"missing_packages": ("tool", "nothing")}, "a: lacks nothing; "),
]


@pytest.mark.parametrize(("changed", "words"), FAULTS)
def test_what_a_host_can_have_from_nowhere_is_named(
    bundle: Bundle, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(ProvisionError, match=words) as caught:
        check_packages({"a": host(**changed), "b": host()}, bundle, silent)
    assert [line[:3] for line in caught.value.reason.splitlines()] == ["a: "]


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_facts_tell_which_packages_are_missing(shell: str, tmp_path: Path) -> None:
    """On this machine, whose dpkg is there and whose sources are not asked as long as nothing is missing."""
    script = tmp_path / "facts"
    argv: list[str | Path] = ["busybox", "sh", script] if shell == "busybox" else [shell, script]
    for names, missing in (["dpkg", "libc6"], ""), (["dpkg"], ""):
        script.write_text(facts_script(packages={"*": names}).main)
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        part = done.stdout.partition("=packages\n")[2]
        assert part == f"{missing}=sources\n=end\n"


def test_facts_are_read() -> None:
    parts = (
        "=kernel\nLinux 6 x86_64\n=user\n0\n=hostname\na\n=os\nID=ubuntu\nID_LIKE=debian\n=clock\n1\n=swap\n"
    )
    parts += (
        "=cpus\n0\n=memory\nMemTotal: 1 kB\n=links\n=rp_filter\n=iptables\n=init\nsystemd\n=tools\n=state\n"
    )
    parts += "=network_record\n=owned\n=resolver\n"
    parts += "=machine\n=network_manager\n"
    parts += "=selinux\n=mark\n=change\n=endpoint\n=peers\n=etcd\n=kubelet\n=packages\na\nb\n=sources\n"
    alone = parse_facts("a", f"{parts}unreachable\n=end\n".encode(), 1.0)
    assert (alone.missing_packages, alone.package_sources, alone.os_like) == (("a", "b"), False, ("debian",))
    assert parse_facts("a", f"{parts}=end\n".encode(), 1.0).package_sources


def test_the_catalogue_has_what_the_playbooks_ask_for() -> None:
    for system in catalogue.distributions():
        own = distributions()[system.id]
        assert set(own.packages(("node", "registry"))) <= set(system.packages), system.name
    assert {each.name for each in catalogue.distributions()} >= {"debian-12", "debian-13"}


def test_a_distribution_is_known_by_what_it_is_like() -> None:
    assert distribution_of(host(os_id="ubuntu")).name == "ubuntu"
    assert distribution_of(host(os_id="devuan", os_like=("nothing", "debian"))).name == "debian"
    assert distribution_of(host(os_id="", os_like=())).name == "debian"
    assert packages_by_id(("registry",))["debian-*"] == ("docker-registry",)
    assert distribution_of(host(os_id="rocky", os_like=("rhel", "centos"))).node[0] == "containerd.io"
    assert "kernel-modules-extra" in distribution_of(host(os_id="rhel", os_version="10.1")).node
    assert "kernel-modules-extra" not in distribution_of(host(os_id="rhel", os_version="9.6")).node
    order = list(packages_by_id(("node",)))
    assert order.index("rhel-10*") < order.index("rhel-*") < order.index("*") == len(order) - 1


def test_a_registry_needs_a_package(bundle: Bundle) -> None:
    facts = {"a": host(os_id="openEuler", missing_packages=())}
    check_packages(facts, bundle, silent)
    with pytest.raises(ProvisionError, match="a: no package of openEuler is known"):
        check_packages(facts, bundle, silent, ["a"])
