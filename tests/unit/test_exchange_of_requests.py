"""An exchange of requests: what the clients write down is what happened, and what is made of it is what pods lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations
from pathlib import Path

import pytest

from provisioner.engine.events import ExchangeMeasured, PairExchanged
from provisioner.engine.journal import as_line
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.exchange import Exchange
from provisioner.kube.exchange_client import CLIENT, LIMIT
from provisioner.kube.exchange_objects import FOLDER, PEERS, deployments, pairs_of, services
from provisioner.kube.exchange_records import Record, Told, exchanged, summed, told
from provisioner.remote.outcome import Result
from provisioner.report.exchange import SHOWN
from provisioner.report.wording import lines_of
from provisioner.shell.script import Script

PAIR = PairExchanged(source="a", target="b", requests=300, failed=0, gap=0.13, began=1000.0)


def well(*ended: float) -> tuple[Record, ...]:
    return tuple(Record(each - 0.01, each, True) for each in ended)


def lost(records: tuple[Record, ...], since: float = 10.0, now: float = 20.0) -> PairExchanged:
    return exchanged("a", "b", since, Told(now, 1000.0 + now, {"b": records}))


def test_the_longest_gap_is_that_of_all_clients_of_a_node() -> None:
    first, second = well(11.0, 12.0, 13.0), well(12.5, 15.5, 19.5)
    found = lost((*second, *first, Record(15.0, 16.0, False)))
    assert (found.requests, found.failed) == (7, 1)
    assert (found.gap, found.began) == (4.0, 1015.5)
    assert found.back


@pytest.mark.parametrize(
    ("records", "gap", "began", "back"),
    [
        ((), 10.0, 1010.0, False),
        (well(18.0, 19.5), 8.0, 1010.0, True),  # the begin counts
        (well(10.5, 11.0), 9.0, 1011.0, False),  # and so does the end
        ((Record(19.0, 19.9, False),), 10.0, 1010.0, False),
    ],
)
def test_what_had_no_answer_at_the_begin_or_the_end_counts(
    records: tuple[Record, ...], gap: float, began: float, back: bool
) -> None:
    found = lost(records)
    assert (found.gap, found.began, found.back) == (gap, began, back)


def test_what_was_asked_before_is_none_of_it() -> None:
    found = lost((Record(9.5, 10.5, False), *well(10.2, 19.8)))
    assert (found.requests, found.failed) == (2, 0)


def test_nothing_is_said_of_a_node_that_was_started_anew() -> None:
    with pytest.raises(ProvisionError, match="a was started anew"):
        lost(well(1.0), since=10.0, now=2.0)


@pytest.mark.parametrize(
    ("records", "talks"),
    [
        ((), False),
        (well(19.5), True),
        (well(17.0), False),  # it was, and is silent
        ((*well(19.9), Record(18.5, 19.5, False)), False),  # of what was sent with it more may be lost
        ((*well(19.9), Record(17.5, 18.5, False)), True),
    ],
)
def test_a_pair_talks_when_nothing_is_lost_any_more(records: tuple[Record, ...], talks: bool) -> None:
    assert Told(20.0, 0.0, {"b": records}).talks("b") == talks


def test_what_a_node_tells_is_read_and_half_a_line_is_not() -> None:
    found = told("a", "now 30.50 1000.250000000\nof b\n29.00 29.01 1\n29.10 30.1")
    assert found == Told(30.5, 1000.25, {"b": (Record(29.0, 29.01, True),)})
    for text in ("", "now 30.50 %N\n", "of b\n"):
        with pytest.raises(ProvisionError, match="a: it does not tell its time"):
            told("a", text)


def test_who_lost_most_comes_first() -> None:
    worse = PairExchanged(source="b", target="a", requests=299, failed=31, gap=3.1, began=1003.0)
    found = summed([PAIR, worse], 30.04)
    assert found.pairs == (worse, PAIR)
    assert (found.requests, found.failed, found.gap, found.seconds) == (599, 31, 3.1, 30.0)
    assert json.loads(as_line(found))["pairs"][0]["gap"] == 3.1
    lines = lines_of(found)
    assert [" ".join(line.text.split()) for line in lines] == [
        "from to requests failed longest gap",
        "b a 299 31 3.10 s",
        "a b 300 0 0.13 s",
        "2 pairs, 599 requests, 31 failed, longest gap 3.10 s (b → a)",
    ]
    assert [line.style for line in lines] == ["dim", "warn", "", "warn"]


def test_a_pair_that_is_cut_off_yet_is_told() -> None:
    cut = PairExchanged(source="b", target="a", requests=9, failed=9, gap=30.0, began=1003.0, back=False)
    *_, row, last = lines_of(summed([cut], 30.0))
    assert (row.text.split("  ")[-1].strip(), row.style) == ("30.00 s, not back", "bad")
    assert (last.text.rpartition("; ")[2], last.style) == ("1 pair not back", "bad")
    assert lines_of(summed([PAIR], 30.0))[-1].style == "good"


def test_of_many_pairs_those_are_shown_that_lost_most() -> None:
    many = [
        PairExchanged(source=f"n{number}", target="b", requests=1, failed=0, gap=number / 100, began=0.0)
        for number in range(SHOWN + 5)
    ]
    lines = lines_of(summed(many, 1.0))
    assert len(lines) == SHOWN + 3
    assert lines[-2].text == "  5 more pairs, 0.04 s at most"
    assert lines_of(summed([], 1.0))[0].text == "no two nodes exchange anything"


def test_all_ask_all_and_of_many_nodes_each_some() -> None:
    assert set(pairs_of(["a", "b", "c"])) == set(permutations("abc", 2))
    assert pairs_of(["a"]) == []
    nodes = [f"n{number}" for number in range(20)]
    pairs = pairs_of(nodes)
    assert len(set(pairs)) == 20 * PEERS
    assert {sum(there == node for _, there in pairs) for node in nodes} == {PEERS}
    assert all(here != there for here, there in pairs)


def test_objects_stand_where_they_shall_and_ask_the_others() -> None:
    space, policy, *made = services("run", ["n.one", "2"])
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert (policy["kind"], policy["spec"]["podSelector"], policy["spec"]["ingress"]) == (
        "NetworkPolicy",
        {},
        [{}],
    )
    assert [each["metadata"]["name"] for each in made] == ["peer-0", "peer-1"]
    first, second = deployments("run", ["n.one", "2"], "image", {"n.one": "10.0.0.1", "2": "10.0.0.2"})
    for service, deployment in zip(made, (first, second), strict=True):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        server, client = deployment["spec"]["template"]["spec"]["containers"]
        assert server["securityContext"]["runAsNonRoot"]
        assert client["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    asked = first["spec"]["template"]["spec"]["containers"][1]["command"]
    assert asked[4:] == ["/records", "2", "10.0.0.2", "80"]
    few, many = (
        deployments("run", nodes, "image", dict.fromkeys(nodes, "10.0.0.1")) for nodes in ("ab", "abcd")
    )
    wants = [each[0]["spec"]["template"]["spec"]["containers"][1]["resources"] for each in (few, many)]
    assert [each["requests"]["cpu"] for each in wants] == ["55m", "115m"], "who asks more uses more"


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/hostname" else 404)
        self.end_headers()
        self.wfile.write(b"a name")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def served() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def client(records: Path, work: Path, limit: int = LIMIT, **ports: int) -> Iterator[None]:
    """The pods' own client, under the shell of their image."""
    for each in (records, work):
        each.mkdir(exist_ok=True)
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox is not installed"
    asked = [word for name, port in ports.items() for word in (name, "127.0.0.1", str(port))]
    argv = [busybox, "sh", "-c", CLIENT.replace(str(LIMIT), str(limit)), "sh", str(records), *asked]
    process = subprocess.Popen(argv, cwd=work, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read(records: Path, name: str) -> tuple[Record, ...]:
    return told("a", f"now 1.0 1.0\nof {name}\n{(records / name).read_text()}").records[name]


def test_the_client_writes_down_what_answered_what_refused_and_what_was_silent(tmp_path: Path) -> None:
    records = tmp_path / "records"
    with socket.socket() as silent, socket.socket() as closed, served() as port:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        closed.bind(("127.0.0.1", 0))
        ports = {"up": port, "down": closed.getsockname()[1], "mute": silent.getsockname()[1]}
        with client(records, tmp_path / "work", **ports):
            time.sleep(2.4)
        up, down, mute = (read(records, name) for name in ports)
    assert {each.well for each in up} == {True}
    assert {each.well for each in (*down, *mute)} == {False}
    for each in (up, down):
        assert len(each) > 8, "they ask all the time"
        assert sorted(one.ended - one.began for one in each)[len(each) // 2] < 0.5, (
            "who is refused waits for nothing"
        )
    # Those that wait do not keep others from asking.
    assert len(mute) > 4
    assert all(0.9 < each.ended - each.began < 2 for each in mute)
    begun = sorted(each.began for each in mute)
    assert begun[2] - begun[0] < 0.9


def test_who_replaces_a_client_goes_on_with_its_file(tmp_path: Path) -> None:
    records = tmp_path / "records"
    counts = [0]
    with served() as port:
        for work in ("first", "second"):
            with client(records, tmp_path / work, up=port):
                time.sleep(0.8)
            counts.append(len(read(records, "up")))
            assert counts[-1] > counts[-2] + 2


def test_a_client_ends_by_itself_once_nobody_looks_any_more_and_goes_on_with_the_next_look(
    tmp_path: Path,
) -> None:
    """A look says until when; the script that looks is tried with the client that it is for."""
    records = tmp_path / "records" / "run"
    records.parent.mkdir()
    scripts: list[Script] = []

    def looked(said: Mapping[str, Script]) -> Mapping[str, Result]:
        scripts.extend(said.values())
        text = said["a"].main.replace(FOLDER, str(records.parent)).replace(str(LIMIT), "5")
        done = subprocess.run(["dash", "-c", text], capture_output=True, check=True)
        return {"a": Result(0, done.stdout, done.stderr, 0.0)}

    with served() as port, client(records, tmp_path / "work", limit=2, up=port):
        time.sleep(0.7)
        mark = Exchange("run", "image", ("a",)).mark(looked)["a"]
        time.sleep(3)
        assert read(records, "up")[-1].ended > mark + 2, "it goes on behind its own limit"
        time.sleep(4)
        last = read(records, "up")[-1].ended
        assert mark + 3 < last < mark + 6.5, "it ends with what the look allowed"
        assert "of .until" not in str(looked({"a": scripts[0]})["a"].stdout)
        time.sleep(2.5)
        assert read(records, "up")[-1].ended > last, "the next look lets it go on"


def test_a_look_reads_what_was_written_since(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    now = int(float(Path("/proc/uptime").read_text().split()[0]))
    (folder / "b").write_text("".join(f"{now - 1}.00 {now - 1}.10 1\n" for _ in range(5000)))
    read_back: list[int] = []

    def looked(said: Mapping[str, Script]) -> Mapping[str, Result]:
        done = subprocess.run(
            ["dash", "-c", said["a"].main.replace(FOLDER, str(tmp_path))], capture_output=True, check=True
        )
        read_back.append(done.stdout.count(b"\n"))
        return {"a": Result(0, done.stdout, done.stderr, 0.0), "b": Result(0, b"now 1.0 1.0\n", b"", 0.0)}

    exchange = Exchange("run", "image", ("a", "b"))
    for since in (now - 10.0, now - 1000.0):
        with suppress(ProvisionError):
            exchange.collect(looked, {"a": since, "b": 0.0})
    assert read_back[0] < 1000 < 5000 < read_back[1]


def test_a_host_that_is_lost_comes_before_other_faults() -> None:
    def everywhere(scripts: Mapping[str, Script]) -> Mapping[str, Result | Exception]:
        return {"a": ProvisionError("slow"), "b": UnreachableError("b is gone")}

    with pytest.raises(UnreachableError, match="b is gone"):
        Exchange("run", "image", ("a", "b")).collect(everywhere, {"a": 0.0, "b": 0.0})


def test_what_was_lost_of_whom_is_collected() -> None:
    said = {
        "a": b"now 20.00 1020.00\nof b\n10.10 10.20 1\n19.80 19.90 1\n",
        "b": b"now 7.00 1020.00\nof a\n6.00 6.90 1\n",
    }

    def everywhere(scripts: Mapping[str, Script]) -> Mapping[str, Result]:
        return {name: Result(0, said[name], b"", 0.0) for name in scripts}

    found: ExchangeMeasured = Exchange("run", "image", ("a", "b")).collect(everywhere, {"a": 10.0, "b": 5.0})
    assert [(each.source, each.target, each.gap) for each in found.pairs] == [
        ("a", "b", 9.7),
        ("b", "a", 1.9),
    ]
    assert (found.requests, found.gap, found.seconds) == (3, 9.7, 10.0)
