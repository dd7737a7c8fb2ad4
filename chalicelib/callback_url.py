"""Which URLs and addresses a callback may reach."""

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from threading import Thread
from typing import Any

from chalicelib.errors import CallbackRefused, CallbackUnresolved, ServiceFailed

Address = IPv4Address | IPv6Address
Found = Sequence[tuple[Any, ...]]
Resolve = Callable[[str, int, int, int], Found]  # host, port, family and type, as socket.getaddrinfo has them

MAX_URL = 2048
PORTS = (443, 8443)
MAX_PORT = 65_535
DEFAULT_PORTS = {"https": 443, "http": 80}
LOCALHOST = "localhost"
RESOLVE_SECONDS = 3.0
NO_ADDRESS = (socket.EAI_NONAME, socket.EAI_NODATA)  # the name's fault; any other error is the name servers'

# RFC 3986, and stricter. No library may take a URL apart here: what one of them holds for the host, another
# one holds for a user's name: https://claroty.com/team82/research/exploiting-url-parsing-confusion
_PATH = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2}"
URL = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    r"(?P<host>\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]|[A-Za-z0-9.-]+)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    rf"(?P<path>(?:/(?:{_PATH})*)?)"
    rf"(?P<query>(?:\?(?:{_PATH}|\?)*)?)"
)
# What is said of a URL that is none: the first that is found in it.
MISTAKES = (
    (
        r"[^!-~]",
        "may have no spaces, and no letters beyond ASCII: hosts have an xn-- form, paths are %-encoded",
    ),
    (r"\\", "may have no backslash"),
    (r"#", "may have no fragment (#)"),
    (r"^[^/]*//[^/?]*@", "may have no user name"),
    (r"", "must look like https://example.com/path"),
)

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# A top-level domain is a word (RFC 3696), so no spelling of an IPv4 address (0x7f.1) passes for a name.
NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{0,58}}[a-z0-9])")

# The whole of https://www.iana.org/assignments/iana-ipv4-special-registry, multicast and what is reserved.
# Lists of our own, since those of the ipaddress module differ from one Python to the next.
SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ],
    )
)
# All other IPv6 is private, reserved, or IPv4 by another name (::ffff:0:0/96, 64:ff9b::/96), which a callback
# can have as IPv4: https://www.iana.org/assignments/ipv6-address-space
GLOBAL_IPV6 = IPv6Network("2000::/3")
# Its part in https://www.iana.org/assignments/iana-ipv6-special-registry; 2002::/16 is IPv4 as well.
SPECIAL_IPV6 = tuple(
    map(IPv6Network, ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"])
)


@dataclass(frozen=True)
class Target:
    """The parts of a URL. A request is made of them, never of the URL."""

    scheme: str
    host: str  # in small letters; an IPv6 address without its brackets
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """The Host header of a request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class CallbackRules:
    """What a stage lets callbacks reach: hosts on the public internet, by https."""

    allowed_hosts: tuple[str, ...] = ()  # no others, if there are any; *.example.com is all below example.com
    loopback: bool = False  # this machine too, at any port and also by http
    resolve: Resolve = socket.getaddrinfo
    resolve_seconds: float = RESOLVE_SECONDS

    def parse(self, url: object) -> Target:
        """Takes apart whatever somebody gave for a URL; raises CallbackRefused with what is wrong with it."""
        target = _target(url)
        literal = _literal(target.host)
        if not literal and not self._is_name(target.host):
            raise CallbackRefused("The host must be a full domain name, or a public IP address")
        if not self._is_allowed(target.host):
            raise CallbackRefused("The host is not one of those that this service may call")
        if not self.loopback:
            _refuse_unusual(target)
        if target.port > MAX_PORT:
            raise CallbackRefused("The port must be 65535 or less")
        if literal:
            self._refuse_blocked(target, [literal])
        return target

    def addresses(self, target: Target) -> tuple[Address, ...]:
        """All addresses of the host, IPv4 first (few VPCs have IPv6); the name servers are asked once.

        Raises CallbackRefused if a callback may not reach any one of them, CallbackUnresolved if there is
        none, ServiceFailed if the name servers failed or took more than `resolve_seconds`.
        """
        literal = _literal(target.host)
        found = [literal] if literal else self._resolved(target)
        if not found:
            raise CallbackUnresolved("The host has no address")
        self._refuse_blocked(target, found)
        return tuple(sorted(dict.fromkeys(found), key=lambda address: address.version))

    def _is_name(self, host: str) -> bool:
        return _is_full_name(host) or (self.loopback and host == LOCALHOST)

    def _is_allowed(self, host: str) -> bool:
        return not self.allowed_hosts or any(_fits(host, allowed) for allowed in self.allowed_hosts)

    def _refuse_blocked(self, target: Target, addresses: Iterable[Address]) -> None:
        elsewhere = [address for address in addresses if not (self.loopback and _is_loopback(address))]
        if elsewhere:
            _refuse_unusual(target)
        if not all(map(_is_public, elsewhere)):
            raise CallbackRefused("The host is not on the public internet")

    def _resolved(self, target: Target) -> list[Address]:
        try:
            answers = _within(self.resolve_seconds, lambda: self._ask(target))
        except OSError as error:
            if isinstance(error, socket.gaierror) and error.errno in NO_ADDRESS:
                return []
            raise ServiceFailed("The name servers did not answer") from error
        return [ip_address(answer[4][0].partition("%")[0]) for answer in answers]

    def _ask(self, target: Target) -> Found:
        return self.resolve(target.host, target.port, socket.AF_UNSPEC, socket.SOCK_STREAM)


def authority_of(url: str) -> str:
    """The host of a URL that has been parsed before, and its port where that is not the usual one."""
    return _target(url).authority


def _target(url: object) -> Target:
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise CallbackRefused(f"The URL must be a string of up to {MAX_URL} characters")
    parts = URL.fullmatch(url)
    if not parts:
        raise CallbackRefused(f"The URL {_mistake(url)}")
    scheme = parts["scheme"].lower()
    port = int(parts["port"] or DEFAULT_PORTS[scheme])
    path = (parts["path"] or "/") + parts["query"]
    return Target(scheme, parts["host"].strip("[]").lower(), port, path)


def _mistake(url: str) -> str:
    return next(mistake for pattern, mistake in MISTAKES if re.search(pattern, url))


def _refuse_unusual(target: Target) -> None:
    if target.scheme != "https":
        raise CallbackRefused("The URL must begin with https://")
    if target.port not in PORTS:
        raise CallbackRefused("The port must be 443 or 8443")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_full_name(host: str) -> bool:
    return bool(NAME.fullmatch(host)) and all(map(_is_label, host.split(".")))


def _is_label(label: str) -> bool:
    """Whether an internationalized label is one: its letters are written as Punycode writes them."""
    if not label.startswith("xn--"):
        return True
    letters = label.removeprefix("xn--").encode()
    try:
        return letters.decode("punycode").encode("punycode") == letters
    except UnicodeError:
        return False


def _fits(host: str, allowed: str) -> bool:
    allowed = allowed.lower()
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    return address in GLOBAL_IPV6 and not any(address in network for network in SPECIAL_IPV6)


def _is_loopback(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address in IPv4Network("127.0.0.0/8")
    return address == IPv6Address("::1")


def _within(seconds: float, call: Callable[[], Found]) -> Found:
    """Raises TimeoutError when the time is over; nothing can end getaddrinfo, so its thread goes on."""
    answer: Future[Found] = Future()
    Thread(target=_settle, args=(answer, call), daemon=True).start()
    return answer.result(seconds)


def _settle(answer: "Future[Found]", call: Callable[[], Found]) -> None:
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        answer.set_exception(error)
