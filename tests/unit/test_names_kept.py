"""The API server's certificate keeps the names that it has in a run that has not read all nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from paperbundle import paper_bundle
from test_preflight import GOOD

from provisioner.action.hostvars import common_variables, host_variables
from provisioner.action.kinds import base_modules
from provisioner.action.modules import BASE_MODULES, CLUSTER_MODULES
from provisioner.action.variables import ClusterVariables
from provisioner.kube.kubeconfig import Kubeconfig
from provisioner.pki.certificate import CertificateKind
from provisioner.pki.cluster import new_state
from provisioner.playbook.compile import Compiler
from provisioner.playbook.facts import Facts
from provisioner.playbook.load import load_playbook, shipped
from provisioner.spec.load import load_cluster

PLANES, WORKERS = ("cp1", "cp2", "cp3"), ("worker1", "worker2")
LOAD_BALANCERS = ("lb1", "lb2")


@pytest.mark.parametrize(
    ("read", "kept"),
    [
        ((*LOAD_BALANCERS, *PLANES, *WORKERS), False),
        ((*PLANES, *WORKERS), False),  # those that are missing are no nodes
        (PLANES, True),
        ((*PLANES, *WORKERS[:1]), True),
    ],
)
def test_names_are_kept_unless_all_nodes_were_read(tmp_path: Path, read: tuple[str, ...], kept: bool) -> None:
    inventory, spec = load_cluster(Path(__file__).parents[2] / "inventories" / "ha.yaml")
    facts = {host: Facts(**GOOD) for host in read}
    state = new_state("ha")
    cluster = ClusterVariables(inventory, spec, state, facts, paper_bundle(tmp_path))
    modules = {
        **base_modules(),
        "certificate": CertificateKind(state.authorities),
        "kubeconfig": Kubeconfig(),
    }
    known = {*BASE_MODULES, *CLUSTER_MODULES}
    playbook = load_playbook(shipped("playbooks") / "control-plane.yaml", known)
    stage = next(each for each in playbook.stages if each.name == "kube-apiserver")
    own = host_variables(inventory.hosts["cp1"], common_variables(inventory))
    made = Compiler(playbook, modules).stage(stage, "cp1", {**own, **cluster.of("cp1")})
    (certificate,) = (each for each in made if each.id == "certificate:/etc/kubernetes/pki/apiserver")
    assert certificate.spec["keep_sans"] is kept
