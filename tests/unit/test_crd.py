"""Objects are held against the definitions of their own release."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.errors import ProvisionError
from provisioner.network.crd import check_objects, misfits, schema_of

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["cidr", "kind"],
    "properties": {
        "cidr": {"type": "string"},
        "kind": {"type": "string", "default": "a"},
        "mode": {"type": "string", "enum": ["Enabled", "Disabled", ""]},
        "size": {"type": "integer", "minimum": 20, "maximum": 32},
        "share": {"type": "number"},
        "count": {"type": "integer", "format": "int32"},
        "mask": {"type": "integer", "minimum": 0},
        "wait": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "level": {"type": "string", "pattern": "^(?i)(Debug|Info|Warning)?$"},
        "pause": {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))*$"},
        "go": {"type": "string", "pattern": r"^\pL(?P<x"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "uses": {"type": "array", "maxItems": 2, "items": {"type": "string", "enum": ["Workload", "Tunnel"]}},
    },
}
CRD = {
    "kind": "CustomResourceDefinition",
    "spec": {
        "names": {"kind": "Pool"},
        "versions": [
            {"name": "v1beta1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}},
            {"name": "v1", "storage": True, "schema": {"openAPIV3Schema": {"properties": {"spec": SPEC}}}},
        ],
    },
}


@pytest.mark.parametrize(
    "value",
    [
        {"cidr": "x"},
        {"cidr": "x", "mode": "Enabled", "size": 20, "share": 1, "wait": "10%", "labels": {"a": "b"}},
        {"cidr": "x", "level": "warning", "pause": "1.5s", "go": "what Python cannot read"},
        {"cidr": "x", "wait": 3, "free": {"any": [1]}, "uses": ["Tunnel"], "share": 0.5},
        {"cidr": "x", "count": -(2**31), "mask": 2**63 - 1, "share": 2.0**70},
    ],
)
def test_what_is_right_is_let_through(value: dict[str, Any]) -> None:
    assert not list(misfits(value, SPEC, "spec"))


@pytest.mark.parametrize(
    ("more", "reason", "hint"),
    [
        ({"mod": "Enabled"}, "spec has no field 'mod'", "did you mean 'mode'?"),
        ({"mode": "enabled"}, "spec.mode cannot be 'enabled'", "did you mean 'Enabled'?"),
        ({"count": 2**31}, "spec.count is 2147483648, -2147483648 to 2147483647 go", ""),
        ({"count": -(2**31) - 1}, "spec.count is -2147483649, -2147483648 to 2147483647 go", ""),
        ({"mask": 2**63}, "spec.mask is 9223372036854775808, 0 to 9223372036854775807 go", ""),
        ({"size": "26"}, "spec.size has to be an integer, not '26'", "leave out the quotes"),
        ({"level": "warn"}, "spec.level cannot be 'warn'", "known: Debug, Info, Warning"),
        ({"level": "Warnin"}, "spec.level cannot be 'Warnin'", "did you mean 'Warning'?"),
        ({"pause": "30"}, "spec.pause cannot be '30'", "a number with its unit, such as 30s or 500ms"),
        ({"wait": True}, "spec.wait has to be a number or a string, not True", ""),
        ({"size": True}, "spec.size has to be an integer, not True", ""),
        ({"size": 33}, "spec.size is 33, 20 to 32 go", ""),
        ({"cidr": 1}, "spec.cidr has to be a string, not 1", "quote it"),
        (
            {"pause": 5},
            "spec.pause has to be a string, not 5",
            "a number with its unit, such as 30s or 500ms",
        ),
        ({"labels": {"a": 1}}, "spec.labels.a has to be a string, not 1", "quote it"),
        ({"uses": ["Workload", "Tunnell"]}, "spec.uses[1] cannot be 'Tunnell'", "did you mean 'Tunnel'?"),
        ({"uses": ["Tunnel"] * 3}, "spec.uses has 3 entries, at most 2 may be there", ""),
        ({"uses": "Tunnel"}, "spec.uses has to be an array, not 'Tunnel'", ""),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, Any], reason: str, hint: str) -> None:
    (fault,) = misfits({"cidr": "x", **more}, SPEC, "spec")
    assert (fault.reason, fault.hint) == (reason, hint)


def test_a_field_that_is_missing_unless_it_has_a_default() -> None:
    assert [each.reason for each in misfits({}, SPEC, "spec")] == ["spec lacks the field 'cidr'"]


def test_all_faults_of_all_objects_are_told() -> None:
    pools = [{"kind": "Pool", "spec": {"cidr": 1}}, {"kind": "Pool", "spec": {"cidr": "x", "siz": 26}}]
    with pytest.raises(ProvisionError) as caught:
        check_objects(pools, [CRD], "calico", "network.calico.pools")
    assert caught.value.reason.splitlines() == [
        "network.calico.pools: Pool of calico: spec.cidr has to be a string, not 1",
        "network.calico.pools: Pool of calico: spec has no field 'siz'",
    ]
    assert caught.value.hint == "quote it; did you mean 'size'?"


def test_the_stored_version_counts_and_a_kind_of_nobody_s_is_an_error() -> None:
    assert schema_of([CRD], "Pool", "calico")["properties"]["spec"] is SPEC
    with pytest.raises(ProvisionError, match="calico has no CustomResourceDefinition of Pol"):
        schema_of([CRD], "Pol", "calico")
