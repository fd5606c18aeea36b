"""Nothing that somebody may regret is done unless he agrees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from provisioner.errors import ConsentError


def check_consent(reasons: Sequence[str], confirm: Callable[[Sequence[str]], bool]) -> None:
    """Raises ConsentError unless there are no reasons to ask, or `confirm` says yes to them."""
    if reasons and not confirm(reasons):
        told = "\n".join(f"  {reason}" for reason in reasons)
        raise ConsentError(f"this needs your consent:\n{told}", "add --yes to go ahead")
