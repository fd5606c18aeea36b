"""The benchmark's own code: same bytes each time, a playbook and an inventory that load, figures that add up."""

from __future__ import annotations

import io
import random
import sys
import tarfile
from pathlib import Path

import pytest

from bench import content, hosts, measure
from bench.measure import BenchError, Run, run
from bench.run import Figures
from bench.table import table
from provisioner.action.kinds import base_modules
from provisioner.inventory.model import load_inventory
from provisioner.playbook.load import load_playbook

SOURCES = Path(content.__file__).parent / "nodeprep"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return content.stage(SOURCES, tmp_path_factory.mktemp("bench") / "work")


def test_the_work_is_what_is_said(work: Path) -> None:
    archive = work / "files" / "payload.tgz"
    assert archive.stat().st_size == pytest.approx(19.5e6, rel=0.01)
    with tarfile.open(archive) as packed:
        assert "bin000" in packed.getnames()  # the file by which Ansible is spared the archive
    playbook = load_playbook(work / "provision.yaml", base_modules())
    inventory = load_inventory(work / "inventory.yaml")
    assert len(inventory.match(playbook.stages[0].hosts)) == 10
    configs = [f"{name}.conf.j2" for name in inventory.variables["configs"]]
    assert sorted(path.name for path in (work / "templates").iterdir()) == configs


def test_the_same_seed_gives_the_same_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MEMBER_BYTES", 1000)
    first, second, other = (content.payload(random.Random(seed)) for seed in (1, 1, 2))  # noqa: S311
    assert first == second != other
    with tarfile.open(fileobj=io.BytesIO(first)) as packed:
        assert len(packed.getnames()) == content.MEMBERS


def test_aliases_share_the_hosts(work: Path, tmp_path: Path) -> None:
    hosts.aliases(work / "inventory.yaml", 25, tmp_path / "inventory.yaml")
    named = load_inventory(tmp_path / "inventory.yaml").match("node")
    assert len(named) == 25
    assert len({host.connection.address for host in named}) == 10


def test_a_run_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "quiet", lambda: False)  # beside other tests it would not become so
    spend = "x = bytearray(50_000_000)\nfor number in range(3_000_000): pass\nprint('done')"
    done = run([sys.executable, "-c", spend], tmp_path, {})
    assert (done.output, done.quiet) == ("done\n", False)
    assert done.seconds >= done.cpu * 0.5 > 0.02
    assert 50 < done.peak_mb < 150
    with pytest.raises(BenchError, match=r"ended with 3:\nwhy"):
        run([sys.executable, "-c", "import sys; print('why'); sys.exit(3)"], tmp_path, {})


def test_table() -> None:
    def figures(*seconds: float) -> Figures:
        runs = [Run(each, 0.1, 50.0, each < 30, "") for each in seconds]
        return Figures(runs[0], runs[1:], 2.1)

    text = table({"provision": figures(4, 0.5, 0.4, 0.9), "other": figures(20, 50, 49, 51)}, 3.2, None, 0)
    own, other, floor, busy = text.splitlines()[1:]
    assert own.split()[:5] == ["provision", "0.50", "s", "1", "x"]
    assert other.split()[:5] == ["other", "50.00", "s", "100", "x"]
    assert own.endswith("1.2")
    assert "3.20 s" in floor
    assert busy.startswith("3 of")
