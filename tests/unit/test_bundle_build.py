"""A real build of the smallest component, with Go's toolchain."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from provisioner.bundle import catalogue, debian, fromrelease, golang, oci
from provisioner.bundle.build import _is_wanted, _left_out, build, published
from provisioner.bundle.catalogue import Component
from provisioner.bundle.debian import Package
from provisioner.bundle.golang import Compilation
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.open import read_bundle
from provisioner.bundle.recipe import release_key
from provisioner.bundle.store import Finished, Store
from provisioner.engine.events import Emit, Event, Note, Step, silent
from provisioner.errors import InputError, ProvisionError
from provisioner.network.patches import images_of, parse_manifest

needs_go = pytest.mark.skipif(not shutil.which("go"), reason="needs Go's toolchain")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our cache is a new one, Go's stays where it is: a cold one would take minutes."""
    for name in ("GOCACHE", "GOMODCACHE"):
        monkeypatch.setenv(
            name,
            subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip(),
        )
    tools = platformdirs.user_cache_path("provision") / "build" / "tools"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if tools.exists():  # Helm alone takes seconds to link
        shutil.copytree(tools, tmp_path / "cache" / "provision" / "build" / "tools")
    return tmp_path / "cache"


@needs_go
def test_build_twice(cache: Path, tmp_path: Path) -> None:
    seen: list[Event] = []
    first = build(components=["pause"], source="module", output=None, emit=seen.append)
    again = build(components=["pause"], source="auto", output=tmp_path / "copy", emit=seen.append)
    assert [event.changed for event in seen if isinstance(event, Step)] == [True, False]
    assert again.digest == first.digest
    assert again.path == tmp_path / "copy"
    assert not (first.path.parent / "current").exists(), "a part of the catalogue is nobody's default"
    packed = build(components=["pause"], source="auto", output=tmp_path / "site.tar", emit=silent)
    assert (packed.path, packed.digest) == (tmp_path / "site.tar", first.digest)
    assert read_bundle(packed.path).digest == first.digest
    shutil.rmtree(cache / "provision")
    anew = build(components=["pause"], source="module", output=None, emit=silent)
    assert anew.digest == first.digest, "the same inputs make the same bytes"


@needs_go
def test_what_apt_does_not_have_is_left_out_and_said(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle without what measures is a bundle."""
    real = catalogue.load()
    own = next(each for each in real if each.own and each.image)
    assert own.image is not None
    gone = replace(
        own, image=replace(own.image, debian=replace(own.image.debian, packages=("no-such-package-1",)))
    )
    pause = next(each for each in real if each.name == "pause")
    monkeypatch.setattr(catalogue, "load", lambda: (pause, gone))
    seen: list[Event] = []
    bundle = build(
        components=["pause", "net-bench"], source="module", output=tmp_path / "b", emit=seen.append
    )
    assert [image.name for image in bundle.images()] == [pause.reference]
    (told,) = (event for event in seen if isinstance(event, Note) and event.level == "warning")
    assert told.message.startswith("no net-bench: ")
    with pytest.raises(ProvisionError, match="no-such-package-1"):
        build(components=["net-bench"], source="module", output=tmp_path / "c", emit=silent)


@needs_go
def test_a_chart_is_rendered_to_the_same_bytes_each_time(cache: Path, tmp_path: Path) -> None:
    """And tells which images it asks for, of which none is there."""
    name = "cilium-hubble-ui"
    first = build(components=[name], source="auto", output=tmp_path / "a", emit=silent)
    shutil.rmtree(cache / "provision" / "build" / "components")
    again = build(components=[name], source="release", output=tmp_path / "b", emit=silent)
    assert again.digest == first.digest
    artifact = first.artifact(name)
    objects = parse_manifest(artifact.path.read_text(encoding="utf-8"), name)
    assert artifact.images == tuple(sorted(images_of(objects)))
    assert first.lacking(artifact) == artifact.images
    published = {each.wanted_name for each in catalogue.load() if each.on_request == "cilium"}
    assert set(artifact.images) == published, "all of them can be had of their publisher"
    assert not [each for each in objects if each["kind"] in ("Secret", "Job", "CronJob")]


def test_what_only_its_publisher_has_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    agent = next(each for each in catalogue.load() if each.on_request)
    store = Store(tmp_path)
    assert not _is_wanted(agent, set(), store)
    assert _is_wanted(agent, {"cilium"}, store)
    assert _is_wanted(agent, {agent.name}, store)
    store.finish(release_key(agent), Finished(Descriptor(oci.MANIFEST, oci.digest_of(b""), 0), ()))
    assert _is_wanted(agent, set(), store), "once it has been fetched it comes along"
    assert agent.wanted_name in _left_out(catalogue.load()), "a bundle is whole without"


def test_a_wrong_name_of_what_to_fetch_is_answered(cache: Path) -> None:
    with pytest.raises(InputError) as caught:
        build(components=["pause"], source="auto", output=None, emit=silent, requested=["cillium"])
    (problem,) = caught.value.problems
    assert (problem.file, problem.hint) == ("--with", "did you mean 'cilium'?")


def test_what_is_asked_for_and_cannot_be_had_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside named components, too; there is no module to fall back on."""
    fetched: list[str] = []

    def silent_publisher(component: Component, _store: Store, _emit: Emit) -> Finished:
        fetched.append(component.name)
        raise ProvisionError("quay.io does not answer", "use --source module")

    monkeypatch.setattr(fromrelease, "make", silent_publisher)
    with pytest.raises(ProvisionError, match="does not answer") as caught:
        build(components=["hubble-relay"], source="auto", output=None, emit=silent, requested=["cilium"])
    assert fetched == ["cilium-agent"], "all of them, in their order"
    assert "only its publisher has it" in caught.value.hint


def test_without_go_a_chart_is_left_out(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProvisionError, match="`go` is not installed"):
        build(components=["cilium"], source="release", output=None, emit=silent)


@needs_go
def test_pause_waits_and_ends(cache: Path, tmp_path: Path) -> None:
    bundle = build(components=["pause"], source="module", output=None, emit=silent)
    layer = bundle.images()[0].blobs[1].path
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-xzf", layer, "-C", tmp_path / "root"], check=True)
    process = subprocess.Popen([tmp_path / "root" / "pause"])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


@needs_go
def test_a_failed_compilation_shows_the_command_and_its_words(tmp_path: Path) -> None:
    pause = next(component for component in catalogue.load() if component.name == "pause")
    wrapper = tmp_path / "wrapper"
    shutil.copytree(pause.module.wrapper, wrapper)
    (wrapper / "main.go").write_text("package main\n\nfunc main() { missing() }\n")
    with pytest.raises(ProvisionError, match=r"(?s)go build .*undefined: missing"):
        golang.compile_packages(
            Compilation("pause", pause.module, "amd64", tmp_path / "out"), tmp_path, silent
        )


@needs_go
def test_the_toolchain_of_a_module_is_asked_for(tmp_path: Path) -> None:
    pause = next(component for component in catalogue.load() if component.name == "pause")
    module = replace(pause.module, toolchain="go1.nothing")
    with pytest.raises(ProvisionError, match=r"(?i)invalid.*go1\.nothing"):
        golang.compile_packages(Compilation("pause", module, "amd64", tmp_path / "out"), tmp_path, silent)


def test_without_go_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProvisionError) as caught:
        golang.toolchain_version()
    assert "--source release" in caught.value.hint


def test_a_source_that_is_none() -> None:
    with pytest.raises(ProvisionError, match="no source"):
        build(components=None, source="modul", output=None, emit=silent)


APT = """Package: libc6
Version: 2.36-9
SHA256: aa
Description: a library
 Package: not this one

Package: nft
Version: 1:1.0
"""


def test_what_apt_says() -> None:
    assert list(debian._parse(APT)) == [Package("libc6", "2.36-9", "aa")]


def apt_has_lists() -> bool:
    lists = Path("/var/lib/apt/lists")
    return bool(shutil.which("apt-cache")) and any(lists.glob("*Packages*"))


@pytest.mark.skipif(not apt_has_lists(), reason="needs apt's lists")
def test_apt_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    found = debian.resolve(["busybox-static"], "amd64", store)
    assert found[0].name == "busybox-static"
    assert len(found[0].sha256) == 64
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian.resolve(["busybox-static"], "amd64", store) == found
    (record,) = (tmp_path / "apt").iterdir()
    assert json.loads(record.read_bytes())[0]["version"] == found[0].version


def test_what_has_no_module_is_left_out_and_told(tmp_path: Path) -> None:
    said: list[Event] = []
    store = Store(tmp_path)
    assert published(catalogue.load(), "module", store, said.append, named=False) == []
    (note,) = said
    assert isinstance(note, Note)
    assert note.message.startswith(
        "without multus, multus-thick, multus-cni, multus-cni-thick, tigera-operator-image, "
    )
    assert note.message.endswith("calico-pod2daemon-flexvol: there is no Go module of them")
    with pytest.raises(ProvisionError, match="there is no Go module of multus"):
        build(components=["multus"], source="module", output=tmp_path / "b", emit=silent)
    plans = published(catalogue.load(), "release", store, silent, named=False)
    names = [plan.component.name for plan in plans]
    assert names[:5] == ["multus", "multus-thick", "multus-cni", "multus-cni-thick", "tigera-operator-image"]


def test_where_its_publisher_is_silent_it_is_left_out(tmp_path: Path) -> None:
    """Nobody listens at port 9 of this machine."""
    said: list[Event] = []
    release = catalogue.Release("http://127.0.0.1:9/a.yml", sha256="0" * 64)
    multus = next(each for each in catalogue.load() if each.name == "multus")
    gone = replace(multus, release=release)
    assert published([gone], "auto", Store(tmp_path), said.append, named=False) == []
    (note,) = said
    assert isinstance(note, Note)
    assert note.message == "without multus: not reachable: 127.0.0.1:9"
