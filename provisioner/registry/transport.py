"""HTTP to one registry: TLS to a name at an address, time-outs, back-off, authorization.

Rules of the distribution specification 1.1; a Location is followed on our own connection whatever scheme or
host it names, because a registry behind a proxy often names itself wrongly (harbor issues 13553 and 7258).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry import refusals, tls, unreached
from provisioner.registry.auth import Authorizer, Credentials
from provisioner.registry.server import RegistryServer
from provisioner.registry.tokenservice import service_of

ATTEMPTS = 5
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 20.0
# The default of 16 KiB costs a system call and a TLS record of Python each.
_BLOCK = 256 << 10
# 500 too: Harbor answers so while its database or its cache starts.
_BUSY = frozenset((408, 429, 500, 502, 503, 504))
_LARGEST_ANSWER = 8 << 20


class TransientError(Exception):
    """Trying again may help. `delay` is how many seconds the registry wants to be left alone."""

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.delay = delay


class RefusedError(ProvisionError):
    """The registry said no, with an HTTP `status`."""

    def __init__(self, status: int, reason: str, hint: str = "") -> None:
        super().__init__(reason, hint)
        self.status = status


class Body:
    """What is sent: an object with `read(size)` whose whole `length` in bytes is known."""

    length: int

    def read(self, size: int = -1) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")


@dataclass(frozen=True)
class Request:
    """`target` is a path or a Location. `body` makes the body anew for every attempt.

    `scopes` as tokens name them.
    """

    method: str
    target: str
    expected: frozenset[int]
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Body] | bytes | None = None
    patience: float = 0.0


def attempts() -> Iterator[Callable[[TransientError], None]]:
    """Yields, for each attempt, what is to be called when it failed: it waits, or raises after the last
    one.
    """
    for number in range(ATTEMPTS):
        yield _Backoff(number).after


@dataclass(frozen=True)
class _Backoff:
    number: int

    def after(self, error: TransientError) -> None:
        if self.number == ATTEMPTS - 1:
            raise UnreachableError(
                f"{error} ({ATTEMPTS} attempts)", "is the registry up, and the way to it stable?"
            ) from error
        time.sleep(min(max(error.delay, _FIRST_DELAY_SECONDS * 2**self.number), _LONGEST_DELAY_SECONDS))


class Transport:
    """Connections to one registry, kept alive; usable from several threads."""

    def __init__(self, server: RegistryServer, credentials: Credentials | None) -> None:
        self._server, host = server, server.host
        address, port = server.address or host, server.port
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._base = f"https://{self.authority}/"
        self._address, self._port = address, port
        self._stall = server.stall_seconds
        self._pool = urllib3.HTTPSConnectionPool(
            address,
            port,
            maxsize=4,
            retries=False,
            ssl_context=tls.trust(server.ca_pem),
            server_hostname=host,
            blocksize=_BLOCK,
        )
        self._authorizer = Authorizer(credentials, self._fetch_token)

    def listens(self) -> bool:
        """Whether a TCP connection is accepted now."""
        try:
            with socket.create_connection((self._address, self._port), timeout=3):
                return True
        except OSError:
            return False

    def send(self, request: Request) -> Answer:
        """One attempt (two if a login is asked for). Raises TransientError, or ProvisionError for a
        refusal.
        """
        used = self._authorizer.headers(request.scopes)
        answer = self._exchange(request, used)
        renewed = answer.status == HTTPStatus.UNAUTHORIZED and self._authorizer.accept(
            answer.headers.get("WWW-Authenticate", ""), request.scopes, used
        )
        if renewed:
            answer = self._exchange(request, self._authorizer.headers(request.scopes))
        stale = (
            renewed and answer.status == HTTPStatus.UNAUTHORIZED and self._authorizer.bears(request.scopes)
        )
        return self._judged(request, answer, refusals.stale(answer.headers) if stale else "")

    def retry(self, request: Request) -> Answer:
        """As `send`, tried again with back-off. For requests that may be repeated."""
        return _patiently(lambda: self.send(request))

    def close(self) -> None:
        self._pool.close()

    def _url(self, request: Request) -> SplitResult:
        try:
            return urlsplit(urljoin(self._base, request.target))
        except ValueError:
            raise ProvisionError(f"the registry sends us to {request.target!r}, which is no URL") from None

    def _where(self, request: Request) -> str:
        # The query of a Location is the registry's signed state: long, and of no use to anybody.
        return self._url(request)._replace(query="", fragment="").geturl()

    def _judged(self, request: Request, answer: Answer, hint: str = "") -> Answer:
        """The answer, if it is one that is expected; raises as `send`."""
        if answer.status in request.expected:
            return answer
        said = refusals.explain(answer.status, answer.data)
        reason = f"{request.method} {self._where(request)}: {said}"
        if answer.status in _BUSY:
            raise TransientError(reason, refusals.retry_after(answer.headers))
        raise RefusedError(answer.status, reason, hint or refusals.hint(answer.status, said))

    def _exchange(self, request: Request, authorization: Mapping[str, str]) -> Answer:
        parts = self._url(request)
        body = request.body() if callable(request.body) else request.body
        headers = {"Host": self.authority, **authorization, **request.headers}
        if isinstance(body, Body):
            headers["Content-Length"] = str(body.length)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        timeout = urllib3.Timeout(connect=self._stall, read=self._stall + request.patience)
        try:
            response = self._pool.urlopen(
                request.method,
                target,
                body=body,  # type: ignore[arg-type]  # urllib3 wants `read` only, its types want a whole file
                headers=headers,
                redirect=False,
                timeout=timeout,
                preload_content=False,
            )
            data = self._content(response)
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            final = tls.failure(self.authority, error) or unreached.failure(self.authority, error)
            if final is not None:
                raise final from error
            what = unreached.words(self.authority, error)
            raise TransientError(f"{request.method} {self._where(request)}: {what}") from error
        finally:
            if isinstance(body, Body):
                body.close()
        return Answer(response.status, response.headers, data)

    def _content(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """The answer's body, which is small: one that trickles is no better than one that stalls."""
        end = time.monotonic() + 4 * self._stall
        blocks: list[bytes] = []
        while block := response.read1(_BLOCK):
            blocks.append(block)
            if time.monotonic() > end or sum(map(len, blocks)) > _LARGEST_ANSWER:
                response.close()
                raise urllib3.exceptions.ProtocolError("the answer does not end")
        return b"".join(blocks)

    def _fetch_token(self, url: str, headers: Mapping[str, str]) -> bytes:
        """What the token service answers, which may be another host than the registry's."""
        server = service_of(url, self._server)
        service = self if server is self._server else Transport(server, None)
        try:
            return service._issue(Request("GET", url, frozenset((200,)), headers=headers))
        finally:
            if service is not self:
                service.close()

    def _issue(self, request: Request) -> bytes:
        """By the rules for all requests, but no challenge is answered: that would ask for a token to get one."""
        try:
            return _patiently(lambda: self._judged(request, self._exchange(request, {}))).data
        except RefusedError as refusal:
            reason, hint = refusals.no_token(refusal.status, account="Authorization" in request.headers)
            raise RefusedError(refusal.status, f"{reason}: {refusal.reason}", hint) from refusal


def _patiently(send: Callable[[], Answer]) -> Answer:
    for failed in attempts():
        try:
            return send()
        except TransientError as error:
            failed(error)
    raise AssertionError("the last attempt raises")
