"""What the spec hands on to Calico's resources, and to pods, is told where it is written, by what is in the bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from broken import said, slipped
from paperbundle import definition

from provisioner.action.definitions import check_definitions
from provisioner.bundle.layout import Artifact, Bundle
from provisioner.errors import InputError
from provisioner.spec.load import load_cluster

_FELIX = {
    "type": "object",
    "properties": {
        "logSeverityScreen": {"type": "string", "pattern": "^(?i)(Debug|Info|Warning|Error|Fatal)?$"},
        "maxIpsetSize": {"type": "integer"},
        "vxlanPort": {"type": "integer"},
        "netlinkTimeout": {"type": "string"},
        "wireguardKeepAlive": {"type": "string"},
        "failsafeInboundHostPorts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["port", "protocol"],
                "properties": {"port": {"type": "integer"}, "protocol": {"type": "string"}},
            },
        },
    },
}
_INSTALLATION = {
    "type": "object",
    "required": ["variant"],
    "properties": {
        "variant": {"type": "string"},
        "nonPrivileged": {"type": "string", "enum": ["Enabled", "Disabled"]},
    },
}
_CONTAINER = {
    "name": "calico-node",
    "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "512Mi"}},
    "livenessProbe": {"periodSeconds": 10},
}
_AGENT = {
    "kind": "DaemonSet",
    "metadata": {"name": "calico-node", "namespace": "kube-system"},
    "spec": {
        "template": {"spec": {"initContainers": [{"name": "upgrade-ipam"}], "containers": [_CONTAINER]}}
    },
}

FELIX = """\
inventory.yaml:10:11: felix has no field 'logSeverityScren' (FelixConfiguration of calico) (did you mean \
'logSeverityScreen'?)
inventory.yaml:11:30: felix.logSeverityScreen cannot be 'Loud' (FelixConfiguration of calico) (known: Debug, Error, \
Fatal, Info, Warning)
inventory.yaml:12:25: felix.maxIpsetSize has to be an integer, not '7' (FelixConfiguration of calico) (leave out the \
quotes)
inventory.yaml:13:65: felix.failsafeInboundHostPorts[1] lacks the field 'protocol' (FelixConfiguration of calico)
4 problems
"""
VARIABLES = """\
inventory.yaml:10:11: FELIX_VXLANPROT: Felix of calico reads no such variable (did you mean 'FELIX_VXLANPORT'?)
inventory.yaml:11:11: FELIX_AUTODETECTION: Felix of calico reads no such variable (FELIX_, and a field's name in \
capital letters)
inventory.yaml:12:11: FELIX_LOGSEVERITYSCREN: Felix of calico reads no such variable (did you mean \
'FELIX_LOGSEVERITYSCREEN'?)
inventory.yaml:13:11: felix_max_ipset_size: Felix of calico reads no such variable (did you mean \
'FELIX_MAXIPSETSIZE'?)
inventory.yaml:14:11: FELIX_NETLINKTIMEOUT: Felix of calico reads no such variable (did you mean \
'FELIX_NETLINKTIMEOUTSECS'?)
inventory.yaml:15:11: FELIX_WIREGUARDKEEPALIVE: Felix of calico reads no such variable (did you mean \
'FELIX_WIREGUARDPERSISTENTKEEPALIVE'?)
6 problems
"""
OPERATOR = """\
inventory.yaml:10:11: installation has no field 'nonPrivilegd' (Installation of tigera-operator) (did you mean \
'nonPrivileged'?)
inventory.yaml:11:26: installation.nonPrivileged cannot be 'enabled' (Installation of tigera-operator) (did you mean \
'Enabled'?)
2 problems
"""
PODS = """\
inventory.yaml:10:29: cpu: calico-node asks for 250m in the manifest, and may have 100m at most here (calico) (at \
least 250m, or requests: {cpu: 100m} beside it)
inventory.yaml:11:34: memory: calico-node asks for 600Mi here, and may have 512Mi at most in the manifest (calico) (at \
most 512Mi, or limits: {memory: 600Mi} beside it)
inventory.yaml:12:15: readiness: calico-node has no such probe in the manifest (calico) (it has a liveness probe)
inventory.yaml:14:11: containers: the manifest has no container calico-nod (calico) (did you mean 'calico-node'?)
inventory.yaml:15:26: liveness: upgrade-ipam has no such probe in the manifest (calico) (leave it out; one of \
liveness has calico-node)
5 problems
"""


def judged(folder: Path, section: str, monkeypatch: pytest.MonkeyPatch, key: str = "calico") -> str:
    """What is told of that section of `network`; "" when nothing is."""
    manifest = folder / "manifest.yaml"
    definitions = (
        definition("f", "FelixConfiguration", _FELIX),
        definition("i", "Installation", _INSTALLATION),
    )
    manifest.write_text(yaml.safe_dump_all((*definitions, _AGENT)))
    artifacts = tuple(
        Artifact(name, "v3.28.5", "linux/amd64", "0" * 64, 1, manifest)
        for name in ("calico", "tigera-operator")
    )
    text = slipped(
        {"        pod_cidrs": f"        plugin: calico\n        {key}: {section}\n        pod_cidrs"}
    )
    monkeypatch.chdir(folder)
    Path("inventory.yaml").write_text(text)
    inventory, spec = load_cluster(Path("inventory.yaml"))
    try:
        check_definitions(inventory, spec, Bundle(folder, "digest", artifacts))
    except InputError as error:
        return said(error)
    return ""


def test_what_the_release_knows_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = "{felix: {logSeverityScreen: debug, failsafeInboundHostPorts: [{port: 22, protocol: TCP}]}}"
    assert judged(tmp_path, section, monkeypatch) == ""
    assert judged(tmp_path, "{}", monkeypatch) == ""


def test_fields_and_values_have_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = """{felix: {
          logSeverityScren: Debug,
          logSeverityScreen: Loud,
          maxIpsetSize: '7',
          failsafeInboundHostPorts: [{port: 22, protocol: TCP}, {port: 23}]}}"""
    assert judged(tmp_path, section, monkeypatch) == FELIX


def test_variables_are_of_fields_or_known_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = """{env: {
          FELIX_VXLANPROT: '4790',
          FELIX_AUTODETECTION: first-found,
          FELIX_LOGSEVERITYSCREN: Info,
          felix_max_ipset_size: '7',
          FELIX_NETLINKTIMEOUT: '9',
          FELIX_WIREGUARDKEEPALIVE: '9'}}"""
    assert judged(tmp_path, section, monkeypatch) == VARIABLES
    good = "FELIX_VXLANPORT: '4790', FELIX_NETLINKTIMEOUTSECS: '9', FELIX_TYPHAREADTIMEOUT: '60'"
    assert judged(tmp_path, f"{{env: {{{good}, BGP_LOGSEVERITYSCREEN: debug}}}}", monkeypatch) == ""


def test_an_operator_s_fields_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = """{install: operator, operator: {installation: {
          nonPrivilegd: Enabled,
          nonPrivileged: enabled}}}"""
    assert judged(tmp_path, section, monkeypatch) == OPERATOR


def test_pods_that_the_api_server_would_refuse_have_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the manifest's own amounts."""
    section = """{containers: {calico-node: {
              limits: {cpu: 100m},
              requests: {memory: 600Mi},
              readiness: {period: 5},
              liveness: {period: 5}},
          calico-nod: {limits: {cpu: '1'}},
          upgrade-ipam: {liveness: {period: 5}}}}"""
    assert judged(tmp_path, section, monkeypatch, "pods") == PODS


@pytest.mark.parametrize(
    "part",
    [
        "limits: {cpu: 250m}",
        "limits: {cpu: 100m}, requests: {cpu: '0.1'}",
        "requests: {memory: 0.5Gi}, limits: {cpu: '1'}",
        "requests: {memory: 1Gi}, limits: {memory: 1Gi}",
    ],
)
def test_amounts_that_go_with_the_manifest_s(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = f"{{containers: {{calico-node: {{{part}}}}}}}"
    assert judged(tmp_path, section, monkeypatch, "pods") == ""
