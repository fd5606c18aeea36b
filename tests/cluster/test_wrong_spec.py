"""A wrong spec is refused with its places, and no host is reached for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from lab_cluster import LabCluster, provision

WRONG: Mapping[str, Mapping[str, str]] = {
    "host bits": {"pod_cidrs: [10.244.0.0/16]": "pod_cidrs: [10.244.3.0/16]"},
    "garbled": {"service_cidrs: [10.96.0.0/16]": "service_cidrs: [8.3.244.0.0/16]"},
    "overlapping": {"service_cidrs: [10.96.0.0/16]": "service_cidrs: [10.244.128.0/17]"},
    "unknown plug-in": {"plugin: flannel": "plugin: flanel"},
    "unknown key": {"mode: iptables": "mod: iptables"},
}


def logins(cluster: LabCluster) -> dict[str, int]:
    """Connections that sshd has accepted so far, the one that asks included."""
    script = "journalctl -u ssh -o cat | grep -c 'session opened for user' || :"
    return {host: int(count) for host, count in cluster.on("all", script).items()}


@pytest.fixture(scope="module")
def before(cluster: LabCluster) -> Iterator[dict[str, int]]:
    """The logins before any refusal. At the end of the module none has been added but by the asking."""
    found = logins(cluster)
    yield found
    assert logins(cluster) == {host: count + 1 for host, count in found.items()}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["apply", "plan", "verify", "render"])
def test_a_wrong_spec_reaches_no_host(
    cluster: LabCluster, before: dict[str, int], tmp_path: Path, wrong: str, command: str
) -> None:
    path = cluster.edited(tmp_path, WRONG[wrong])
    done = provision(command, path, "--json")
    assert done.status == 3, done
    told = done.only("Error")
    value = next(iter(WRONG[wrong].values()))
    lines = [number for number, line in enumerate(path.read_text().splitlines(), 1) if value in line]
    assert {problem["line"] for problem in told["problems"]} <= {*lines, *(number - 1 for number in lines)}
    assert all(problem["column"] > 0 and problem["file"] == str(path) for problem in told["problems"])
    assert done.stderr == ""
