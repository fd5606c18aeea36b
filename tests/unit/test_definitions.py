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
        "defaultEndpointToHostAction": {"type": "string", "pattern": "^(?i)(Drop|Accept|Return)?$"},
        "awsSrcDstCheck": {"type": "string", "enum": ["DoNothing", "Enable", "Disable"]},
        "iptablesBackend": {"type": "string", "pattern": "^(?i)(Auto|FelixConfiguration|Legacy|NFT)?$"},
        "iptablesRefreshInterval": {"type": "string", "pattern": r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$"},
        "iptablesLockProbeInterval": {"type": "string", "pattern": r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$"},
        "iptablesMarkMask": {"type": "integer", "format": "int32"},
        "xdpEnabled": {"type": "boolean"},
        "logFilePath": {"type": "string"},
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
VALUES = """\
inventory.yaml:10:46: FELIX_DEFAULTENDPOINTTOHOSTACTION: Felix of calico cannot read 'Maybe' (known: Accept, Drop, \
Return)
inventory.yaml:11:36: FELIX_LOGSEVERITYSCREEN: Felix of calico cannot read 'loud' (known: Debug, Error, Fatal, Info, \
Warning)
inventory.yaml:12:42: FELIX_IPTABLESREFRESHINTERVAL: Felix of calico cannot read 'soon' (a number of seconds, such as \
30)
inventory.yaml:13:35: FELIX_TYPHAREADTIMEOUT: Felix of calico cannot read '1.5m' (a number of seconds: '90')
inventory.yaml:14:50: FELIX_IPTABLESLOCKPROBEINTERVALMILLIS: Felix of calico cannot read '0.5s' (a number of \
milliseconds: '500')
inventory.yaml:15:29: FELIX_XDPENABLED: Felix of calico cannot read 'off' (true or false)
inventory.yaml:16:31: FELIX_MAXIPSETSIZE: Felix of calico cannot read 'none' (a whole number, -2147483648 to 2147483647)
inventory.yaml:18:35: FELIX_IPTABLESMARKMASK: Felix of calico cannot read '4294967296' (a whole number, 0 to 4294967295)
inventory.yaml:19:34: FELIX_IPTABLESBACKEND: Felix of calico cannot read 'FelixConfiguration' (known: auto, legacy, nft)
inventory.yaml:20:33: FELIX_AWSSRCDSTCHECK: Felix of calico cannot read '' (known: Disable, DoNothing, Enable)
10 problems
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


def test_values_of_variables_are_texts_that_felix_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = """{env: {
          FELIX_DEFAULTENDPOINTTOHOSTACTION: Maybe,
          FELIX_LOGSEVERITYSCREEN: loud,
          FELIX_IPTABLESREFRESHINTERVAL: soon,
          FELIX_TYPHAREADTIMEOUT: 1.5m,
          FELIX_IPTABLESLOCKPROBEINTERVALMILLIS: 0.5s,
          FELIX_XDPENABLED: 'off',
          FELIX_MAXIPSETSIZE: none,
          FELIX_VXLANPORT: '4789',
          FELIX_IPTABLESMARKMASK: '4294967296',
          FELIX_IPTABLESBACKEND: FelixConfiguration,
          FELIX_AWSSRCDSTCHECK: ''}}"""
    assert judged(tmp_path, section, monkeypatch) == VALUES


def test_values_of_variables_that_felix_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words in any case, numbers in Go's spellings, times in plain numbers; "none" is nothing."""
    section = """{env: {
          FELIX_DEFAULTENDPOINTTOHOSTACTION: aCCept,
          FELIX_LOGSEVERITYSCREEN: none,
          FELIX_IPTABLESREFRESHINTERVAL: '90',
          FELIX_TYPHAREADTIMEOUT: '.5',
          FELIX_IPTABLESLOCKPROBEINTERVALMILLIS: 1e2,
          FELIX_XDPENABLED: 'Y',
          FELIX_MAXIPSETSIZE: '0o17',
          FELIX_IPTABLESMARKMASK: '0xffff0000',
          FELIX_IPTABLESBACKEND: NFT,
          FELIX_AWSSRCDSTCHECK: disable,
          FELIX_LOGFILEPATH: any thing}}"""
    assert judged(tmp_path, section, monkeypatch) == ""


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
