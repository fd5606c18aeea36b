"""Waiting for pods with an eye on what keeps them from running."""

from __future__ import annotations

import time
from collections.abc import Callable

from provisioner.kube.complaints import Item, Waiting, complaints, stuck
from provisioner.resources.model import Answer

NOT_YET = 3
"""The exit status of a look that found pods which do not run yet."""
PATIENCE = 120.0
"""Seconds in which all pods have to run."""
PRESENCE = 5.0
"""Seconds of waiting after which it is asked whether the hosts are still there."""

Present = Callable[[], None]
"""Asks whether the hosts are still there. Raises UnreachableError for those that are gone."""


def nobody() -> None:
    """A `Present` for who is connected with no further host."""


def awaited(
    first: Callable[[], Answer],
    look: Callable[[], Answer],
    items: Callable[[Answer], list[Item]],
    of: str,
    *,
    present: Present = nobody,
    joined: bool = False,
) -> Answer:
    """What the first one answers, or the `look` that found all pods running or failed. `items` are the pods in such an
    answer, and the events of theirs that count.

    Raises ProvisionError with what each of the pods `of` something complains of, soon when it is the same all the time
    (`joined`: nodes have just joined); and what `present` raises, which is called only while pods are waited for.
    """
    began = asked = time.monotonic()
    answer, waiting = first(), Waiting(joined=joined)
    while answer.status == NOT_YET:
        found = items(answer)
        told, now = complaints(found), time.monotonic()
        late = waiting.is_vain(told) or now - began > PATIENCE
        if late or now - asked >= PRESENCE:  # what pods say of a host that is gone is not why
            present()
            asked = time.monotonic()
        if late:
            raise stuck(found, told, now - began, of)
        answer = look()
    return answer
