"""Runs that meet on one host of a lab: the second waits for nobody, and never writes beside the first's scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from lab_cluster import LabCluster, Running, own_lab, provision, until

NUMBER = 35
"""The test lab's place beside those of other tests: 10.97.35.0/24."""

SUBNET = IPv4Network(f"10.97.{NUMBER}.0/24")
SLOW = 3.0
HELD = "/root/held"
"""While it is there the command does not end."""
INVENTORY = f"""all:
  vars:
    lab: {{name: any, subnet: {SUBNET}}}
    ansible_user: root
  hosts:
    one: {{ansible_host: {SUBNET[11]}}}
"""
PLAYBOOK = f"""- name: slow
  hosts: all
  tasks:
    - command:
        cmd: |
          echo begin >>/root/log
          sleep {SLOW}
          while [ -e {HELD} ]; do sleep 0.1; done
          echo end >>/root/log
          touch /root/done
        creates: /root/done
- name: after
  hosts: all
  tasks:
    - copy: {{dest: /root/after, content: "after\\n"}}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    source = tmp_path_factory.mktemp("source") / "inventory.yaml"
    source.write_text(INVENTORY)
    with own_lab("test-locks", source, str(SUBNET)) as lab:
        yield lab


@pytest.fixture
def playbook(lab: LabCluster, tmp_path: Path) -> Path:
    """The host knows nothing of it yet."""
    lab.one("one", f"rm -f /root/log /root/done /root/after {HELD}")
    path = tmp_path / "slow.yaml"
    path.write_text(PLAYBOOK)
    return path


def await_script(running: Running) -> None:
    running.await_event(lambda event: event["event"] == "HostChanging")


def test_the_second_run_is_sent_away_with_the_firsts_name(lab: LabCluster, playbook: Path) -> None:
    with lab.applying("--playbook", str(playbook)) as first:
        run = first.await_event(lambda event: event["event"] == "RunStarted")["run"]
        await_script(first)
        with first.held():
            second = lab.apply("--playbook", playbook)
        assert (second.status, second.changed) == (5, set()), second
        reason = second.only("Error")["reason"]
        assert re.search(
            rf"one: the lock run is held by \S+@\S+, pid {first.process.pid}, run {run}, since ", reason
        )
        done = first.finish()
    assert done.status == 0, done
    assert lab.one("one", "cat /root/log").split() == ["begin", "end"]
    assert lab.apply("--playbook", playbook).changed == set()


def test_a_run_waits_for_the_script_of_one_that_was_killed(lab: LabCluster, playbook: Path) -> None:
    """Its lock is free at once, because nobody holds it; what it began on the host still goes on, to its end."""
    lab.one("one", f"touch {HELD}")
    with lab.applying("--playbook", str(playbook)) as first:
        await_script(first)
        until(lambda: "begin" in lab.one("one", "cat /root/log 2>/dev/null || :"), "the command's begin")
        first.kill()
    with lab.applying("--playbook", str(playbook)) as second:
        second.await_event(lambda event: "waiting for a script of an earlier run" in event.get("message", ""))
        lab.one("one", f"rm {HELD}")
        done = second.finish()
    assert done.status == 0, done
    # The plan that was made while the first still ran is not carried out: by then its command was done.
    assert lab.one("one", "cat /root/log /root/after").split() == ["begin", "end", "after"]
    assert any("changed by another run since it was read" in note["message"] for note in done.named("Note"))
    assert done.changed == {("one", "file:/root/after", "create")}
    assert lab.apply("--playbook", playbook).changed == set()
    assert lab.one("one", "ls -d /run/provision.* 2>/dev/null | wc -l") == "1", (
        "the asking script's own folder"
    )


def test_an_interrupted_run_frees_the_host(lab: LabCluster, playbook: Path) -> None:
    with lab.applying("--playbook", str(playbook)) as first:
        await_script(first)
        first.process.send_signal(2)
        stopped = first.finish(60)
        assert stopped.status == 130, stopped
        second = provision("apply", lab.inventory, "--json", "--playbook", playbook)
    assert second.status == 0, second
    assert json.loads(second.stdout.splitlines()[-1])["ok"]
