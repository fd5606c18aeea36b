"""The pod network of clusters that others have built becomes another one, and theirs again: of one that was built by
hand (kubeadm's is in test_kubeadm.py), and of both after kills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from handbuilt import HandBuilt
from kubeadm import kubeadm_lab
from lab_cluster import BESIDE, own_lab
from migrated import TRACES, inside, killed_at
from others import (
    SECOND_HALF,
    Others,
    becomes_calico_and_comes_back,
    migrate,
    otherwise_is_refused,
    theirs,
    users,
)

NET = BESIDE.rpartition(".")[0]
HERE = Path(__file__).parent
pytestmark = pytest.mark.soak


@contextmanager
def of_kubeadm() -> Iterator[Others]:
    with kubeadm_lab() as lab:
        yield Others(lab, "kube_control_plane:kube_node", 6)


@contextmanager
def by_hand() -> Iterator[Others]:
    source = HERE / "handbuilt_flannel.yaml"
    with own_lab(f"handbuilt-{NET.replace('.', '-')}", source, BESIDE) as lab:
        if not lab.one("cp1", "ls -d /opt/kubernetes 2>/dev/null || :"):
            workers = {"worker1": f"{NET}.21", "worker2": f"{NET}.22"}
            HandBuilt(lab.folder, f"{NET}.11", workers, "flannel").build()
        yield Others(replace(lab, admin="kubectl"), "kube_node", 2)


BUILDERS = {"kubeadm": of_kubeadm, "opt-kubernetes": by_hand}


@pytest.fixture(scope="module", params=[*BUILDERS])
def others(request: pytest.FixtureRequest) -> Iterator[Others]:
    with BUILDERS[request.param]() as made:
        users(made)
        yield made


@pytest.mark.parametrize("others", ["opt-kubernetes"], indirect=True)  # kubeadm's: test_kubeadm.py
def test_it_becomes_calico_and_comes_back_as_it_was(others: Others, tmp_path: Path) -> None:
    otherwise_is_refused(others, tmp_path)
    becomes_calico_and_comes_back(others)


@pytest.mark.parametrize("step", ["beside", "pods", "agents end"])
def test_after_a_kill_it_goes_on_or_is_taken_back(others: Others, step: str) -> None:
    lab = others.lab
    for words in (("--to", "calico"), ("--rollback",)):
        killed_at(lab, ("Step", step, 1), 0.7, *words)
        if words == ("--to", "calico"):
            done = migrate(others, *words)
            assert done.status == 0, done
            inside(lab, SECOND_HALF)
            assert set(lab.on(others.nodes, TRACES["flannel"]).values()) == {""}
    done = migrate(others, "--rollback")
    assert done.status == 0, done
    assert "DaemonSet kube-flannel-ds" in theirs(lab)
    assert set(lab.on(others.nodes, TRACES["calico"]).values()) == {""}
