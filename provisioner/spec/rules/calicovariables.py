"""Values of variables of calico-node that are not Felix's (Calico 3.28, node/pkg/lifecycle/startup, confd/etc)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.inventory.spelling import said
from provisioner.spec.draft import Draft

_ENV = ("network", "calico", "env")
_POLLING, _ROUTER = "AUTODETECT_POLL_INTERVAL", "CALICO_ROUTER_ID"
_DURATION = re.compile(r"\+?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h))+")
"""As Go reads it (time.ParseDuration), and not backwards."""


def variables_take_their_values(draft: Draft) -> Iterator[Problem]:
    env = draft.get(*_ENV)
    if not isinstance(env, dict):
        return
    polling, router = env.get(_POLLING), env.get(_ROUTER)
    if isinstance(polling, str) and not (_DURATION.fullmatch(polling) and re.search("[1-9]", polling)):
        reason = f"{_POLLING}: {said(polling)} is no time from one look at addresses to the next"
        yield draft.problem((*_ENV, _POLLING), reason, "numbers with units, such as 60s or 1m30s")
    if isinstance(router, str) and router != "hash":
        reason = f"{_ROUTER}: all nodes would be the router {said(router)}, and BGP wants an id for each"
        yield draft.problem((*_ENV, _ROUTER), reason, "use hash, or leave it out")
