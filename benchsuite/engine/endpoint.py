"""Where a target really is, resolved once before the clock, and calls as the bytes sent there."""

import base64
import ipaddress
import os
import socket
import urllib.request
from urllib.parse import unquote, urlsplit

from benchsuite import __version__
from benchsuite.engine.spec import WorkerSpec
from benchsuite.errors import TargetError, UsageError
from benchsuite.types import Call, Connection, Noun, Target

Address = tuple[str | int, ...]


class Endpoint(Noun, frozen=True, kw_only=True):
    """A target's resolved address and all that a request's head needs; holds secrets, never stored."""

    family: int
    address: Address
    server_name: str
    host_header: str
    tls: bool
    path_prefix: str
    proxy_connect: bytes
    connection: Connection

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Endpoint({self.host_header!r})"

    def spec(self, **share: object) -> WorkerSpec:
        """A worker's specification for this endpoint; `share` gives loop, slots, seconds, spool…"""
        connection = self.connection
        return WorkerSpec(
            family=self.family,
            address=self.address,
            server_name=self.server_name,
            tls=self.tls,
            ca_cert=connection.ca_cert,
            client_cert=connection.client_cert,
            client_key=connection.client_key,
            insecure=connection.insecure,
            proxy_connect=self.proxy_connect,
            timeouts=connection.timeouts,
            **share,  # type: ignore[arg-type]
        )


def resolve(target: Target, connection: Connection) -> Endpoint:
    """Look the target up and find the address that answers; TargetError says what was tried."""
    try:
        parts = urlsplit(target.url)
        asked_port = parts.port
    except ValueError:
        raise UsageError("the URL's host or port can't be read; it looks like http://host:8000") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"not an http:// or https:// URL: {target.url.rpartition('@')[2]!r}")
    if "@" in parts.netloc:
        raise UsageError("a URL with a user isn't supported; send it as --header-env Authorization=VARIABLE")
    tls = parts.scheme == "https"
    host, port = parts.hostname, asked_port or (443 if tls else 80)
    host_header = parts.netloc.rpartition("@")[2]
    prefix, connect_head = parts.path.rstrip("/"), b""
    peer_host, peer_port = host, port
    proxy = _proxy(connection.proxy, parts.scheme, host)
    if proxy:
        peer = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
        if peer.scheme != "http" or not peer.hostname:
            raise UsageError("only http:// proxies are supported (they tunnel https too)")
        peer_host, peer_port = peer.hostname, peer.port or 3128
        auth = _proxy_authorization(peer.username, peer.password)
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        connect_head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{auth}\r\n".encode()
    family, address = _reachable(peer_host, peer_port, connection.timeouts.connect_s)
    return Endpoint(
        family=family,
        address=address,
        server_name=host,
        host_header=host_header,
        tls=tls,
        path_prefix=prefix,
        proxy_connect=connect_head,
        connection=connection,
    )


def _proxy(asked: str | None, scheme: str, host: str) -> str:
    """The proxy to use: the one asked for, else the environment's; never for this machine itself."""
    if asked is not None:
        return asked
    try:
        if ipaddress.ip_address(host).is_loopback:
            return ""
    except ValueError:
        if host == "localhost":
            return ""
    if urllib.request.proxy_bypass(host):
        return ""
    return urllib.request.getproxies().get(scheme, "")


def _proxy_authorization(user: str | None, password: str | None) -> str:
    if not user:
        return ""
    secret = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
    return f"Proxy-Authorization: Basic {secret}\r\n"


def _reachable(host: str, port: int, timeout_s: float) -> tuple[int, Address]:
    """The first of the host's addresses that accepts a connection."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise TargetError(f"the name {host!r} can't be resolved; check the URL") from error
    reason = ""
    for family, kind, protocol, _name, address in found:
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(timeout_s)
            try:
                sock.connect(address)
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else "timed out"
            else:
                return family, address  # type: ignore[return-value]
    raise TargetError(f"nothing answers at {host}:{port} ({reason.lower()}); is the server running there?")


_OURS = frozenset({"content-length", "transfer-encoding", "x-request-id"})


class Encoder:
    """Turns calls into request bytes; the head that calls share is made once."""

    def __init__(self, endpoint: Endpoint, target: Target) -> None:
        self._endpoint = endpoint
        self._extra = target.headers
        self._heads: dict[tuple[str, str, tuple[tuple[str, str], ...]], bytes] = {}

    def encode(self, call: Call, request_id: str) -> bytes:
        """The whole request as it goes on the wire."""
        key = (call.method, call.path, tuple(call.headers.items()))
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._head(call)
        tail = f"X-Request-Id: {request_id}\r\nContent-Length: {len(call.body)}\r\n\r\n"
        return head + tail.encode("latin-1") + call.body

    def _head(self, call: Call) -> bytes:
        endpoint = self._endpoint
        headers = {
            "Host": endpoint.host_header,
            "User-Agent": f"benchsuite/{__version__}",
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
            **call.headers,
        }
        own = {name.lower() for name in self._extra}
        headers = {name: value for name, value in headers.items() if name.lower() not in own} | self._extra
        for name, value in headers.items():
            if name.lower() in _OURS:
                raise UsageError(f"the header {name!r} is set by benchsuite itself; leave it out")
            if any(char in "\r\n\0" or char > "\xff" for char in name + value):
                raise UsageError(f"the header {name!r} holds a line break or a letter that HTTP can't carry")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{call.method} {endpoint.path_prefix}{call.path} HTTP/1.1\r\n{lines}".encode("latin-1")
