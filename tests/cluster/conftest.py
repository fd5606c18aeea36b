"""One lab and one cluster for all tests of the tier: brought up once, from bare hosts; taken down at the end.

The tests of a file are read-only, mend what they broke, or come last: the order of the files is below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab_cluster import SUBNET, Done, LabCluster, is_verified, own_lab

ORDER = (
    "test_between",
    "test_bring_up",
    "test_api_security",
    "test_hardening",
    "test_limit",
    "test_images",
    "test_wrong_spec",
    "test_refusals",
    "test_trust",
    "test_kubeconfig",
    "test_render",
    "test_accepted",
    "test_plan_files",
    "test_run_lock",
    "test_drift",
    "test_ownership",
    "test_proxy_modes",
    "test_host_firewall",
    "test_proxied",
    "test_state",
    "test_glance",
    "test_disk_full",
    "test_nodes",
    "test_joining",
    "test_killed",
    "test_removed",
    "test_renewal",
    "test_clock",
    "test_traffic_gate",
    "test_bench_net",
    "test_exchange",
    "test_cut_off",
    "test_repair",
    # From here on files have labs of their own (OWN_LABS).
    "test_bare",
    "test_closed_site",
    "test_whole_bundle",
    "test_preload",
    "test_outside_registry",
    "test_migrate",
    "test_migrate_others",
    "test_reset",
    "test_reset_beside",
    "test_three",
    "test_balanced",
    "test_balancing",
    "test_planes",
    "test_planes_faults",
    "test_existing_cluster",
    "test_kubeadm",
    "test_networks",
    "test_policies",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    places = [number for number, item in enumerate(items) if item.path.parent == here]
    mine = sorted((items[number] for number in places), key=lambda item: ORDER.index(item.path.stem))
    for number, item in zip(places, mine, strict=True):
        items[number] = item


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[LabCluster]:
    """Bare hosts at first; in time, what the tests made of them."""
    with ExitStack() as stack:
        lab = stack.enter_context(own_lab(f"test-{SUBNET.partition('/')[0].replace('.', '-')}"))
        request.config.pluginmanager.register(stack, "shared lab")  # for tests/conftest.py, which ends it
        yield lab


@pytest.fixture(scope="session")
def first_run(lab: LabCluster) -> Done:
    """The apply on bare hosts; where test_killed comes first, the last one of that."""
    return lab.apply()


@pytest.fixture(scope="session")
def cluster(lab: LabCluster, first_run: Done) -> LabCluster:
    """A verified cluster."""
    assert is_verified(first_run), first_run
    return lab
