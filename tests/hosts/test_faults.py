"""Faults of hosts and networks, put in for real: each is told with host, stage, resource, cause and what to do; a lost
host is missed within seconds; nothing half-written counts; and the same command completes when the fault is undone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from faultcases import CASES
from faultlab import PASSWORD, Case, FaultLab, Told, fault_lab
from lab_cluster import provision

from provisioner.lab.status import status

NAMES = [pytest.param(each.name, marks=(pytest.mark.soak,) * each.soak) for each in CASES]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultLab]:
    with fault_lab(tmp_path_factory.mktemp("faults")) as opened:
        yield opened


@pytest.fixture(scope="module")
def told(lab: FaultLab, request: pytest.FixtureRequest) -> dict[str, Future[Told]]:
    """All cases that were asked for, on all hosts of the lab at once."""
    asked = {
        item.callspec.params.get("name")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    return lab.run_all([case for case in CASES if case.name in asked])


@pytest.mark.parametrize("name", NAMES)
def test_a_fault(name: str, told: dict[str, Future[Told]]) -> None:
    (case,) = (each for each in CASES if each.name == name)
    found = told[name].result()
    faulty, host = found.faulty, found.host.name
    assert faulty.status == case.status, faulty
    assert faulty.seconds < case.seconds + 30, faulty
    if case.status:
        check_told(case, found)
    if case.left is not None:
        assert found.left == case.left
    again = found.again
    assert again.status == 0, f"{again}\nafter\n{faulty}"
    ended = again.only("RunEnded")
    assert ended["ok"]
    digest, *rest = found.whole.split("\n")
    assert rest == ["first", "small", "made", "later", "third", "large", "later", "made", "small"], (
        found.whole
    )
    assert digest, host


@pytest.mark.parametrize("turn", [1, 2])
def test_many_at_once_at_an_sshd_that_drops_most(lab: FaultLab, turn: int) -> None:
    """Five commands dial one host together, among them an apply, which dials twice; one session each."""
    narrow = "printf 'MaxStartups 2:50:4\\nMaxSessions 1\\n' >/etc/ssh/sshd_config.d/narrow.conf"
    with lab.host(Case(f"narrow {turn}", 0)) as host:
        host.sh(f"{narrow}; systemctl restart ssh")
        try:
            others = [("exec", str(host.inventory), "all", "--", "echo", "there")] * 4
            with ThreadPoolExecutor(5) as threads:
                done = list(threads.map(lambda words: provision(*words), [host.words, *others]))
        finally:
            host.sh("rm /etc/ssh/sshd_config.d/narrow.conf; systemctl restart ssh")
        assert [each.status for each in done] == [0] * 5, "\n".join(map(str, done))
        assert host.sh("cat /srv/third") == "third"


def test_faults_by_the_command_line(lab: FaultLab) -> None:
    def state() -> tuple[bool, bool]:
        (one,) = (each for each in status(lab.plan).hosts if each.name == host.name)
        return one.running, one.linked

    with lab.host(Case("by hand", 0)) as host:
        for what, expected in (
            ("cut", (True, False)),
            ("heal", (True, True)),
            ("power-off", (False, False)),
            ("power-on", (True, True)),
        ):
            done = provision("lab", "fault", lab.inventory, host.name, what)
            assert (done.status, state()) == (0, expected), f"{what}: {done}"
        assert provision("lab", "fault", lab.inventory, "none", "cut").status == 1


def check_told(case: Case, found: Told) -> None:
    faulty, host = found.faulty, found.host.name
    reason, hint = case.reason.format(host=host), case.hint.format(host=host)
    resume = f"provision apply {found.host.inventory} --playbook {found.host.book}"
    if case.stage is None:
        error = faulty.only("Error")
        assert (error["exit_code"], error["unchanged"], error["resume"]) == (case.status, True, resume), (
            faulty
        )
        assert host in re.split(r"\W", error["reason"]), faulty
        assert faulty.changed == set()
    else:
        error = faulty.only("Failed")
        assert (error["host"], error["stage"]) == (host, case.stage), faulty
        assert error["resource"].startswith(case.resource), faulty
        assert error["resource"] in error["undone"]
        ended = faulty.only("RunEnded")
        assert ended["resume"] == resume
        assert sum(ended["changed"].values()) + sum(each[host] for each in ended["left"].values()) == 7, ended
        if case.status == 4:
            assert error["unsure"] == error["resource"]
    assert re.search(reason, error["reason"], re.DOTALL), faulty
    assert re.search(hint, error["hint"]), faulty
    assert len(faulty.stdout) < 60_000, "the report is flooded"
    if found.text is not None:
        text = found.text.stderr
        assert found.text.status == case.status
        assert "Traceback" not in text
        assert len(text) < 8_000
        for part in (reason, hint, re.escape(resume), rf"\b{host}\b", case.stage or "nothing was changed"):
            assert re.search(part, text, re.DOTALL), f"{part}\n{text}"
        assert PASSWORD not in text
