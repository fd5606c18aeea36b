"""What a registry's refusals mean: its own words, Harbor's, and those of proxies before it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

_SKEW_SECONDS = 30.0
"""Tokens live for a minute or more; below that difference of clocks they are taken."""
_HINTS = {
    401: "the registry wants another user or password",
    403: "this user may not write there; Harbor answers so when the project does not exist",
    404: "the registry does not know this repository or upload",
    413: "a proxy before the registry limits bodies: in nginx `client_max_body_size 0;`",
}
WRONG_REALM = (
    "Is the address of its token service right: external_url in Harbor, auth.token.realm in distribution?"
)
# Harbor: middleware/readonly, middleware/quota, and the project's lookup before a push (goharbor/harbor, src/server).
_WORDS = (
    (
        r"read.only mode",
        "Harbor is in read-only mode: an administrator ends it under Configuration, System Settings",
    ),
    (
        r"project .*not found|PROJECT_?NOT_?FOUND|NAME_UNKNOWN",
        "there is no such project: `bundle push --create-project` and registry.kind: harbor make it",
    ),
    (
        r"quota(?:s|_?exceeded)?|upper limit of|exceed the configured",
        "the project's quota is used up: an administrator raises it, or artifacts are deleted and garbage is collected",
    ),
    (
        r"PROJECTPOLICYVIOLATION|immutable",
        "a policy of the project forbids it: the tag is immutable or to be signed",
    ),
    (r"no space left", "the registry's disk is full"),
)


def explain(status: int, data: bytes) -> str:
    """The status and the registry's own words (specification: {"errors": [{"code", "message"}]})."""
    try:
        errors: Iterable[Mapping[str, object]] = json.loads(data)["errors"]
        said = "; ".join(f"{error.get('code')}: {error.get('message')}" for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        said = data[:200].decode("utf-8", "replace").strip()
    return f"HTTP {status} {said}".rstrip()


def hint(status: int, said: str) -> str:
    """What mends it: by what the registry `said`, else by the status.

    Names of repositories are no words of its: Harbor says `unauthorized to access repository: p/quota-exporter`.
    """
    for pattern, words in _WORDS:
        if re.search(rf"(?<![\w./-])(?:{pattern})(?![\w/-]|\.\w)", said, re.IGNORECASE):
            return words
    return _HINTS.get(status, "")


def by_words(said: str) -> bool:
    """Whether a hint came from what the registry said, and not from its status alone."""
    return any(said == words for _, words in _WORDS)


def no_token(status: int, account: bool) -> tuple[str, str]:
    """Why a token service issued none, with an account or without, and what mends it."""
    if status == HTTPStatus.UNAUTHORIZED:
        if account:
            return "wrong user or password", _HINTS[status]
        return "without an account there is no token", "the registry wants a user and a password"
    if status == HTTPStatus.FORBIDDEN:
        return "the token service refuses us", "is this account allowed to log in there, and from here?"
    return "the token service issued no token", WRONG_REALM


def stale(headers: Mapping[str, str]) -> str:
    """Why a token that was just issued is refused: the clocks, if they differ; else a guess."""
    skew = clock_skew(headers)
    if abs(skew) > _SKEW_SECONDS:
        ahead = "behind" if skew > 0 else "ahead of"
        return f"the registry's clock is {abs(skew):.0f} s {ahead} this machine's: tokens count as too old or too new"
    return "this account may not do that there; or the clocks or keys of registry and token service differ"


def clock_skew(headers: Mapping[str, str]) -> float:
    """This machine's time less the registry's, in seconds, by its Date; 0 where it names none."""
    then = _date(headers.get("Date", ""))
    return 0.0 if then is None else time.time() - then


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds: RFC 9110 allows their number and a date, which is compared with the answer's own, if it has one."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    then, now = _date(value), _date(headers.get("Date", ""))
    return 0.0 if then is None else max(0.0, then - (time.time() if now is None else now))


def _date(text: str) -> float | None:
    try:
        then = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()
