"""Felix's settings whose bounds its own definition does not tell (Calico 3.28, felix/config/config_params.go; docs,
reference/felix/configuration)."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Unusable
from provisioner.spec.felixwords import variable_of
from provisioner.spec.goregexp import regular_expression
from provisioner.spec.validation import Path
from provisioner.spec.values import RefusedError

_AT = ("network", "calico")
_TUNNELS = ("vxlanPort", "wireguardListeningPort", "wireguardListeningPortV6")
_BOUNDS = {
    # Of 0 a socket has some port, and the probes that ask Felix's health want to know which.
    **dict.fromkeys((*_TUNNELS, "healthPort"), (1, 65535)),
    **dict.fromkeys(("metadataPort", "prometheusMetricsPort"), (0, 65535)),
    "vxlanVNI": (1, 2**24 - 1),
}
_LINKS = "mtuIfacePattern"
_FAILSAFE = ("failsafeInboundHostPorts", "failsafeOutboundHostPorts")


def felix_s_numbers_are_in_bounds(draft: Draft) -> Iterator[Problem]:
    """What is no number at all, too, where it is a port that others have to let through."""
    felix, env = draft.get(*_AT, "felix", default={}), draft.get(*_AT, "env", default={})
    for name, bounds in _BOUNDS.items():
        if not isinstance(felix, Unusable) and name in felix:
            yield from number_in_bounds(draft, (*_AT, "felix", name), felix[name], bounds)
        variable = f"FELIX_{name.upper()}"
        if not isinstance(env, Unusable) and isinstance(env.get(variable), str):
            text = env[variable]
            number = int(text) if text.isascii() and text.isdecimal() else text
            yield from number_in_bounds(draft, (*_AT, "env", variable), number, bounds)
    for name in () if isinstance(felix, Unusable) else _FAILSAFE:
        entries = felix.get(name)
        for index, each in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(each, dict) and "port" in each:
                yield from number_in_bounds(
                    draft, (*_AT, "felix", name, index, "port"), each["port"], (0, 65535)
                )


def felix_s_patterns_are_patterns(draft: Draft) -> Iterator[Problem]:
    """Of one that it cannot read Felix takes the default, with a line in its log."""
    for key, name in (("felix", _LINKS), ("env", variable_of(_LINKS))):
        section = draft.get(*_AT, key)
        if not isinstance(section, dict) or name not in section or (*_AT, key, name) in draft.bad:
            continue
        try:
            if not isinstance(section[name], str):
                raise RefusedError(
                    f"must be a text, not {section[name]!r}", "a regular expression, such as ^bond"
                )
            regular_expression(section[name])
        except RefusedError as refused:
            yield draft.problem((*_AT, key, name), f"{name}: {refused.reason}", refused.hint)


def felix_s_health_is_reached(draft: Draft) -> Iterator[Problem]:
    """The probes put the host and its port together as they are (node/pkg/health), and Felix takes no brackets."""
    for key, name in (("felix", "healthHost"), ("env", variable_of("healthHost"))):
        section = draft.get(*_AT, key)
        host = section.get(name) if isinstance(section, dict) else None
        if isinstance(host, str) and ":" in host:
            reason = "the probes of calico-node write no brackets around an IPv6 address, and would not reach"
            hint = "use a name or an IPv4 address"
            yield draft.problem((*_AT, key, name), f"{name}: {reason} {host}", hint)


def felix_s_settings_are_said_once(draft: Draft) -> Iterator[Problem]:
    """Of a field and its variable Felix takes the variable: the other one would be a lie."""
    felix, env = draft.get(*_AT, "felix"), draft.get(*_AT, "env")
    if not isinstance(felix, dict) or not isinstance(env, dict):
        return
    fields = {variable_of(str(name)): name for name in felix}
    for variable in env:
        field = fields.get(str(variable).upper())
        if field is not None and (*_AT, "felix", field) not in draft.bad:
            reason = (
                f"{variable}: network.calico.felix says {field} already, and Felix would take the variable"
            )
            yield draft.problem((*_AT, "env", variable), reason, "leave one of them out", key=True)


def setting_of(draft: Draft, name: str, default: object = "") -> tuple[Path, object]:
    """A setting's place and value, by its field or its variable, which is a text; (), `default` where there is none, or
    a section that is wrong."""
    for key, written in (("env", variable_of(name)), ("felix", name)):
        section = draft.get(*_AT, key)
        if isinstance(section, dict) and written in section:
            return (*_AT, key, written), section[written]
    return (), default


def number_in_bounds(draft: Draft, path: Path, value: object, bounds: tuple[int, int]) -> Iterator[Problem]:
    least, most = bounds
    name = path[-1]
    if isinstance(value, bool) or not isinstance(value, int):
        hint = (
            "leave out the quotes" if isinstance(value, str) and value.isdecimal() else f"{least} to {most}"
        )
        yield draft.problem(path, f"{name}: must be a whole number, not {value!r}", hint)
    elif not least <= value <= most:
        way = "less than" if value < least else "more than"
        yield draft.problem(
            path, f"{name}: {value} is {way} {least if value < least else most}", f"{least} to {most}"
        )
