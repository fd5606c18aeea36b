"""What control planes remember of the pod network, where their copies differ, and where one is unreadable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.action.variables import Networks
from provisioner.errors import ProvisionError
from provisioner.network.record import ALONE, Migration, NetworkRecord, agreed_record, parse_record

NOTHING = NetworkRecord()
SETTLED = NetworkRecord(now={"plugin": "flannel"})
BEGUN = Migration("a", {"plugin": "flannel"}, {"plugin": "calico"}, "node-by-node")
BOTH = replace(SETTLED, migration=BEGUN)
FURTHER = replace(BOTH, migration=replace(BEGUN, phase=ALONE))
BACK = replace(BOTH, migration=BEGUN.reversed("b"))


@pytest.mark.parametrize("record", [NOTHING, SETTLED, BOTH, FURTHER, BACK])
def test_a_record_comes_back_as_it_was(record: NetworkRecord) -> None:
    assert parse_record(record.to_json(), "cp1") == record


def test_the_way_back_changes_ends() -> None:
    back = replace(BEGUN, phase=ALONE).reversed("b")
    assert (back.id, back.source, back.target) == ("b", BEGUN.target, BEGUN.source)
    assert (back.phase, back.back, back.reversed("c").back) == ("both", True, False)


@pytest.mark.parametrize(
    ("copies", "agreed"),
    [
        ([], NOTHING),
        (["", "\n"], NOTHING),
        (["", SETTLED], SETTLED),  # one that has joined since
        ([SETTLED, BOTH], BOTH),
        ([FURTHER, BOTH], FURTHER),
        ([FURTHER, BACK], BACK),
        ([BACK, FURTHER], BACK),
    ],
)
def test_of_copies_that_differ_the_furthest_counts(
    copies: list[NetworkRecord | str], agreed: NetworkRecord
) -> None:
    texts = {
        f"cp{at}": each if isinstance(each, str) else each.to_json() for at, each in enumerate(copies, 1)
    }
    assert agreed_record(texts) == agreed


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ('{"format": 2}', "has format 2, this version knows 1", "use the version of provision"),
        ('{"format": 1', "is damaged (JSONDecodeError", "restore it from another"),
        ("[]", "is damaged (TypeError", "restore it from another"),
        ('{"format": 1, "now": null}', "is damaged (KeyError", "restore it from another"),
        (
            '{"format": 1, "now": null, "before": null, "migration": {"id": "a"}}',
            "is damaged (TypeError",
            "restore",
        ),
    ],
)
def test_what_cannot_be_read_names_its_host(text: str, reason: str, hint: str) -> None:
    with pytest.raises(ProvisionError) as caught:
        agreed_record({"cp1": SETTLED.to_json(), "cp2": text})
    assert caught.value.reason.startswith(f"cp2: /var/lib/provision/state/network.json {reason}")
    assert hint in caught.value.hint


def test_a_run_on_a_cluster_of_others_leaves_the_record_as_it_is() -> None:
    record = NetworkRecord(now={"plugin": "calico"}, before={"plugin": "flannel"})
    assert Networks(None, record).recorded == record.to_json()
    assert parse_record(Networks({"plugin": "flannel"}, record).recorded, "cp1").now == {"plugin": "flannel"}
