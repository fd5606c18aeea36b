"""Values of Felix's variables, held against its definition of fields: the same settings, in texts that Felix reads by
itself. Of most that it cannot read it takes the default, with a line in its log; at some it ends.

Facts: Calico 3.28, felix/config/config_params.go and param_types.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from provisioner.inventory.words import hint_for
from provisioner.network.crd import UNITS, Schema, words_of
from provisioner.spec.felixwords import variable_of

_BOOLEANS = ("true", "1", "yes", "y", "t", "false", "0", "no", "n", "f")
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|[1-9][0-9]*|0)")
_NUMBER = re.compile(r"\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = MappingProxyType({"ms": 0.001, "s": 1, "m": 60, "h": 3600})
_MILLIS = "iptablesLockProbeInterval"
"""The one time in milliseconds."""
_MASK = "iptablesMarkMask"
"""The one number without a sign."""
_TIMES: Schema = MappingProxyType({"type": "string", "pattern": UNITS})
_BOOLEAN: Schema = MappingProxyType({"type": "boolean"})
_KINDS: Mapping[str, Schema] = MappingProxyType(
    {
        "dataplaneWatchdogTimeout": _TIMES,
        "TyphaReadTimeout": _TIMES,
        "TyphaWriteTimeout": _TIMES,
        "DebugPanicAfter": _TIMES,
        "DebugBPFMapRepinEnabled": _BOOLEAN,
        "DebugSimulateDataRace": _BOOLEAN,
        "iptablesBackend": MappingProxyType({"type": "string", "enum": ("auto", "legacy", "nft")}),
    }
)
"""What has no field, and fields of which the definition tells less, or more, than Felix reads."""
_NEVER_NONE = frozenset(
    {
        "awsSrcDstCheck", "bpfConnectTimeLoadBalancing", "bpfEnforceRPF", "bpfExternalServiceMode",
        "bpfHostNetworkedNATWithoutCTLB", "bpfLogLevel", "bpfMapSizeConntrack", "bpfMapSizeIPSets", "bpfMapSizeIfState",
        "bpfMapSizeNATAffinity", "bpfMapSizeNATBackend", "bpfMapSizeNATFrontend", "bpfMapSizeRoute", "chainInsertMode",
        "defaultEndpointToHostAction", "iptablesFilterAllowAction", "iptablesFilterDenyAction",
        "iptablesMangleAllowAction", "iptablesMarkMask", "maxIpsetSize",
    }
)  # fmt: skip
"""Settings at whose "none" Felix ends; of any other it is nothing, 0 or false."""


def misread(variables: Mapping[str, str], fields: Mapping[str, Schema]) -> Iterator[tuple[str, str]]:
    """Names of variables whose values Felix does not read, and what it would; `fields` are FelixConfiguration's."""
    known = {variable_of(name): name for name in (*fields, *_KINDS)}
    for variable, value in variables.items():
        name = known.get(variable, "")
        schema = _KINDS.get(name) or fields.get(name, {})
        hint = _hint(name, value, schema)
        none = value.lower() == "none" and name not in _NEVER_NONE
        if hint and not none:
            yield variable, hint


def _hint(name: str, value: str, schema: Schema) -> str:
    """What goes; "" where the value does, and where the definition does not tell."""
    kind, words = schema.get("type"), words_of(schema)
    if words:
        fits = value.lower() in (each.lower() for each in words)
        return "" if fits else hint_for(value, words)
    if kind == "boolean":
        return "" if value.lower() in _BOOLEANS else "true or false"
    if kind == "integer":
        return _whole(name, value)
    return _time(name, value) if UNITS in str(schema.get("pattern", "")) else ""


def _whole(name: str, value: str) -> str:
    least, most = (0, 2**32 - 1) if name == _MASK else (-(2**31), 2**31 - 1)
    text = re.sub(r"^([+-]?)0(?=[0-7])", r"\g<1>0o", value)  # what begins with 0 is octal for Go
    if _INTEGER.fullmatch(value) and least <= int(text, 0) <= most:
        return ""
    return f"a whole number, {least} to {most}"


def _time(name: str, value: str) -> str:
    if _NUMBER.fullmatch(value):
        return ""
    unit, factor = ("milliseconds", 1000) if name == _MILLIS else ("seconds", 1)
    told = _TIME.fullmatch(value)
    near = f"{float(told[1]) * _SECONDS[told[2]] * factor:.10g}" if told else ""
    return f"a number of {unit}: '{near}'" if near else f"a number of {unit}, such as 30"
