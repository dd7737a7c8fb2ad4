import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests_hardened.ip_filter import InvalidIPAddress, get_ip_address
from urllib3.util import parse_url

from chalicelib.callback_url import Address, CallbackRules, Found, Target
from chalicelib.errors import CallbackRefused, CallbackUnresolved, ServiceFailed
from tests.addresses import BLOCKED, BLOCKED_ADDRESSES, PUBLIC, answers, url_of

RULES = CallbackRules()
LAPTOP = CallbackRules(loopback=True)
HOOKS = Target("https", "hooks.example.com", 443, "/")

FORM = "The URL must look like https://example.com/path"
CHARACTERS = (
    "The URL may have no spaces, and no letters beyond ASCII: hosts have an xn-- form, paths are %-encoded"
)
BACKSLASH = "The URL may have no backslash"
FRAGMENT = "The URL may have no fragment (#)"
USER = "The URL may have no user name"
LENGTH = "The URL must be a string of up to 2048 characters"
HTTPS = "The URL must begin with https://"
PORT = "The port must be 443 or 8443"
NAME = "The host must be a full domain name, or a public IP address"
PRIVATE = "The host is not on the public internet"
NOT_ALLOWED = "The host is not one of those that this service may call"
# What requests-hardened lets through and these rules do not.
STRICTER = [
    *map(ip_network, ["192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24"]),  # anycast of AS112 and AMT
    *map(ip_network, ["2001::/23", "2620:4f:8000::/48"]),  # the same, and what is no host
    *map(ip_network, ["::/3", "4000::/2", "8000::/1"]),  # not in use; IPv4 in IPv6 (::/96, ::ffff:0:0/96)
]


PIECES = (
    r"https http : / // @ \ ? # [ ] ::1 . % %2f %00 example.com a 127.0.0.1 8.8.8.8 443 8443 xn-- [2a00::1]"
)
CONFUSING = " \t\n\u212a\u3002\uff0f"  # among them what some take for a k, a dot and a slash
URLS = st.lists(st.sampled_from([*PIECES.split(), *CONFUSING]), max_size=12).map("".join)


def resolving(*addresses: str) -> CallbackRules:
    return CallbackRules(resolve=lambda *_: answers(*addresses))


def failing(error: Exception) -> CallbackRules:
    def resolve(*_: object) -> Found:
        raise error

    return CallbackRules(resolve=resolve)


def reason_for(url: object, rules: CallbackRules = RULES) -> str:
    with pytest.raises(CallbackRefused) as raised:
        rules.parse(url)
    return raised.value.reason


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/"), "example.com"),
        (
            "HTTPS://Hooks.Example.COM:443/A",
            Target("https", "hooks.example.com", 443, "/A"),
            "hooks.example.com",
        ),
        ("https://example.com:8443/", Target("https", "example.com", 8443, "/"), "example.com:8443"),
        ("https://example.com?a=1&b", Target("https", "example.com", 443, "/?a=1&b"), "example.com"),
        (
            "https://example.com/a//b/../%2F%c3%a9;x=(1)?u=https://a@b.example:1/?",
            Target("https", "example.com", 443, "/a//b/../%2F%c3%a9;x=(1)?u=https://a@b.example:1/?"),
            "example.com",
        ),
        ("https://example.com//", Target("https", "example.com", 443, "//"), "example.com"),
        (
            "https://xn--bcher-kva.example/",
            Target("https", "xn--bcher-kva.example", 443, "/"),
            "xn--bcher-kva.example",
        ),
        ("https://a.xn--p1ai/", Target("https", "a.xn--p1ai", 443, "/"), "a.xn--p1ai"),
        (
            "https://r3---sn-4g5e.example/",
            Target("https", "r3---sn-4g5e.example", 443, "/"),
            "r3---sn-4g5e.example",
        ),
        ("https://8.8.8.8/", Target("https", "8.8.8.8", 443, "/"), "8.8.8.8"),
        ("https://[2A00::1]/", Target("https", "2a00::1", 443, "/"), "[2a00::1]"),
        ("https://[2a00::1]:8443/", Target("https", "2a00::1", 8443, "/"), "[2a00::1]:8443"),
    ],
)
def test_a_url_comes_apart(url: str, target: Target, authority: str) -> None:
    assert RULES.parse(url) == target
    assert target.authority == authority


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(f"{'a' * 63}.example", id="a label of 63"),
        pytest.param(f"{'a.' * 123}example", id="a name of 253"),
        pytest.param("1.2.3.example", id="numbers"),
        pytest.param("1e100.net", id="a number first"),
        pytest.param("0x7f.example", id="a hexadecimal number"),
    ],
)
def test_a_host_may_be_any_full_name(host: str) -> None:
    assert len(host) <= 253
    assert RULES.parse(f"https://{host}/") == Target("https", host, 443, "/")


def test_a_url_may_have_2048_characters() -> None:
    path = "/" + "a" * (2048 - len("https://example.com/"))

    assert RULES.parse(f"https://example.com{path}").path == path
    assert reason_for(f"https://example.com{path}a") == LENGTH


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (r"http://127.0.0.1:80\@example.com/", BACKSLASH),
        (r"http://example.com\@127.0.0.1/", BACKSLASH),
        (r"https:\\example.com/", BACKSLASH),
        ("https://example.com/a\\b", BACKSLASH),
        ("http://user:pw@169.254.169.254/latest/meta-data/", USER),
        ("http://foo@127.0.0.1:80@example.com/", USER),
        ("https://@example.com/", USER),
        ("https://example.com%40127.0.0.1/", FORM),
        ("http://[::ffff:127.0.0.1]/", HTTPS),
        ("http://[::ffff:7f00:1]/", HTTPS),
        ("https://[::ffff:127.0.0.1]/", PRIVATE),
        ("https://[::ffff:7f00:1]/", PRIVATE),
        ("https://[0:0:0:0:0:ffff:7f00:0001]/", PRIVATE),
        ("https://[::ffff:8.8.8.8]/", PRIVATE),
        ("http://①②⑦.⓪.⓪.①/", CHARACTERS),
        ("http://127。0。0。1/", CHARACTERS),
        ("https://exampl\u212a.com/", CHARACTERS),
        ("https://b\u00fccher.example/", CHARACTERS),
        ("https://example.com/caf\u00e9", CHARACTERS),
        ("https://example.com\u200b/", CHARACTERS),
        ("https://example.com:\u0664\u0664\u0663/", CHARACTERS),
        ("https://example.com/\ud800", CHARACTERS),
        ("https://example.com:22/", PORT),
        ("https://example.com:80/", PORT),
        ("https://example.com:9001/", PORT),
        ("https://example.com:99999/", PORT),
        ("https://example.com:0/", FORM),
        ("https://example.com:0443/", FORM),
        ("https://example.com:/", FORM),
        ("https://example.com:443:443/", FORM),
        ("https://example.com:-443/", FORM),
        ("https://example.com:4_43/", FORM),
        ("http://example.com#@127.0.0.1/", FRAGMENT),
        ("https://example.com/#", FRAGMENT),
        ("http://127.0.0.1%00.example.com/", FORM),
        ("https://example.com\t.evil/", CHARACTERS),
        ("https://exa\nmple.com/", CHARACTERS),
        ("https://example.com/\n", CHARACTERS),
        ("\nhttps://example.com/", CHARACTERS),
        (" https://example.com/", CHARACTERS),
        ("https://example.com/\x00", CHARACTERS),
        ("https://example.com/\x7f", CHARACTERS),
        ("https://example.com/\r\nX: y", CHARACTERS),
        ("https://example.com/ HTTP/1.1", CHARACTERS),
        ("https://exam ple.com/", CHARACTERS),
        ("https://%31%32%37.0.0.1/", FORM),
        ("https://example.com/%", FORM),
        ("https://example.com/%0", FORM),
        ("https://example.com/%zz", FORM),
        ("https://example.com/[x]", FORM),
        ('https://example.com/"', FORM),
        ("http://[::1%25lo]/", FORM),
        ("http://[fe80::1%25eth0]/", FORM),
        ("https://[]/", FORM),
        ("https://[127.0.0.1]/", FORM),
        ("https://[example.com]/", FORM),
        ("https://[abc.de]/", FORM),
        ("https://[::1/", FORM),
        ("https://::1/", FORM),
        ("https://[v1.8]/", FORM),
        ("https://[::1]x/", FORM),
        ("https://[1:2:3]/", NAME),
        ("https://[:]/", NAME),
        ("https://[2a00::1::2]/", NAME),
        ("https://LOCALHOST/", NAME),
        ("https://localhost./", NAME),
        ("http://localhost:9001/2018-06-01/runtime/invocation/next", NAME),
        ("http://0x7f.1/", NAME),
        ("http://2130706433/", NAME),
        ("https://127.0.0.0x1/", NAME),
        ("https://127.0.0.01/", NAME),
        ("https://1.1.1.256/", NAME),
        ("https://1.2.3/", NAME),
        ("https://1.2.3.4.5/", NAME),
        ("https://example.1/", NAME),
        ("https://example.0x1/", NAME),
        ("https://", FORM),
        ("https:///x", FORM),
        ("https:example.com", FORM),
        ("https:/example.com/", FORM),
        ("//127.0.0.1/", FORM),
        ("example.com", FORM),
        ("file:///etc/passwd", FORM),
        ("gopher://127.0.0.1:6379/_x", FORM),
        ("ftp://example.com/", FORM),
        ("data:text/plain,x", FORM),
        ("javascript:alert(1)", FORM),
        ("https+unix://example.com/", FORM),
        ("httpss://example.com/", FORM),
        ("http://example.com/", HTTPS),
        (f"https://{'a' * 64}.example/", NAME),
        (f"https://{'a.' * 123}examples/", NAME),
        ("https://example/", NAME),
        ("https://example.com./", NAME),
        ("https://.example.com/", NAME),
        ("https://a..example.com/", NAME),
        ("https://./", NAME),
        ("https://-a.example/", NAME),
        ("https://a-.example/", NAME),
        ("https://a_b.example/", FORM),
        ("https://a*.example/", FORM),
        ("https://xn--.example/", NAME),
        ("https://xn--999999999.example/", NAME),
        ("https://xn--a-.example/", NAME),
        ("https://a.xn--/", NAME),
        ("https://a.xn--0/", NAME),
        ("", FORM),
        (None, LENGTH),
        (443, LENGTH),
        (True, LENGTH),
        (["https://example.com/"], LENGTH),
        ({"url": "https://example.com/"}, LENGTH),
        (b"https://example.com/", LENGTH),
    ],
    ids=repr,
)
def test_what_is_no_url_for_a_callback_is_refused_with_a_reason(url: object, reason: str) -> None:
    assert reason_for(url) == reason


@pytest.mark.parametrize("host", BLOCKED)
def test_no_spelling_of_a_blocked_address_is_a_host(host: str) -> None:
    assert reason_for(url_of(host)) in (PRIVATE, NAME, FORM)


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_address_is_a_host_and_needs_no_name_server(host: str) -> None:
    rules = failing(AssertionError())

    target = rules.parse(url_of(host))

    assert rules.addresses(target) == (ip_address(host),)


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES)
def test_a_name_may_have_no_blocked_address(address: str) -> None:
    with pytest.raises(CallbackRefused) as raised:
        resolving(address).addresses(HOOKS)

    assert raised.value.reason == PRIVATE


@pytest.mark.parametrize("address", PUBLIC)
def test_a_name_may_have_a_public_address(address: str) -> None:
    assert resolving(address).addresses(HOOKS) == (ip_address(address),)


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("address", ["10.0.0.1", "fd00:ec2::254", "::ffff:127.0.0.1"])
def test_one_blocked_address_among_public_ones_is_one_too_many(address: str, position: int) -> None:
    found = ["1.1.1.1", "2606:4700:4700::1111"]
    found.insert(position, address)

    with pytest.raises(CallbackRefused) as raised:
        resolving(*found).addresses(HOOKS)

    assert raised.value.reason == PRIVATE


def test_every_one_of_many_addresses_is_looked_at() -> None:
    many = [f"93.184.216.{number}" for number in range(64)]

    assert resolving(*many).addresses(HOOKS) == tuple(map(IPv4Address, many))
    with pytest.raises(CallbackRefused):
        resolving(*many, "192.168.0.1").addresses(HOOKS)


def test_addresses_come_once_each_and_ipv4_first() -> None:
    rules = resolving("2606:4700::2", "1.0.0.1", "2606:4700::1", "1.1.1.1", "1.0.0.1")

    assert rules.addresses(HOOKS) == (
        IPv4Address("1.0.0.1"),
        IPv4Address("1.1.1.1"),
        IPv6Address("2606:4700::2"),
        IPv6Address("2606:4700::1"),
    )


def test_an_address_counts_without_the_interface_that_leads_to_it() -> None:
    assert resolving("2606:4700::1%eth0").addresses(HOOKS) == (IPv6Address("2606:4700::1"),)


def test_each_time_the_name_servers_are_asked_once() -> None:
    asked: list[tuple[Any, ...]] = []

    def rebinding(*question: Any) -> Found:
        asked.append(question)
        return answers("1.1.1.1" if len(asked) == 1 else "127.0.0.1")

    rules = CallbackRules(resolve=rebinding)

    assert rules.addresses(HOOKS) == (IPv4Address("1.1.1.1"),)
    assert asked == [("hooks.example.com", 443, socket.AF_UNSPEC, socket.SOCK_STREAM)]
    with pytest.raises(CallbackRefused):
        rules.addresses(HOOKS)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(resolving(), id="an empty answer"),
        pytest.param(failing(socket.gaierror(socket.EAI_NONAME, "said")), id="no such name"),
        pytest.param(failing(socket.gaierror(socket.EAI_NODATA, "said")), id="no address of the name"),
    ],
)
def test_a_name_without_an_address_is_refused(rules: CallbackRules) -> None:
    with pytest.raises(CallbackUnresolved) as raised:
        rules.addresses(HOOKS)

    assert raised.value.reason == "The host has no address"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(socket.gaierror(socket.EAI_AGAIN, "said"), id="no answer, or a loop of aliases"),
        pytest.param(socket.gaierror(socket.EAI_FAIL, "said"), id="servers that fail"),
        pytest.param(socket.gaierror(socket.EAI_SYSTEM, "said"), id="no network"),
        pytest.param(OSError(24, "Too many open files"), id="no socket"),
        pytest.param(TimeoutError(), id="a time-out"),
    ],
)
def test_name_servers_that_fail_are_no_fault_of_the_name(error: OSError) -> None:
    with pytest.raises(ServiceFailed):
        failing(error).addresses(HOOKS)


def test_nobody_waits_for_slow_name_servers() -> None:
    is_over = Event()

    def slow(*_: object) -> Found:
        is_over.wait()
        return answers("1.1.1.1")

    with pytest.raises(ServiceFailed):
        CallbackRules(resolve=slow, resolve_seconds=0.01).addresses(HOOKS)

    is_over.set()


def test_a_bug_in_asking_is_a_bug() -> None:
    with pytest.raises(KeyError):
        failing(KeyError("x")).addresses(HOOKS)


def test_the_name_servers_have_three_seconds() -> None:
    assert RULES.resolve_seconds == 3


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("hooks.example.com", True),
        ("HOOKS.example.com", True),
        ("a.hooks.example.com", False),
        ("example.com", False),
        ("a.example.org", True),
        ("a.b.example.org", True),
        ("example.org", False),
        ("evil-example.org", False),
        ("example.org.evil.example", False),
        ("8.8.8.8", True),
        ("8.8.4.4", False),
    ],
)
def test_a_stage_may_name_the_hosts_that_callbacks_reach(host: str, is_allowed: bool) -> None:
    rules = CallbackRules(allowed_hosts=("Hooks.example.com", "*.Example.org", "8.8.8.8"))

    if is_allowed:
        assert rules.parse(f"https://{host}/") == Target("https", host.lower(), 443, "/")
    else:
        assert reason_for(f"https://{host}/", rules) == NOT_ALLOWED


def test_an_allowed_host_has_to_be_public_all_the_same() -> None:
    rules = CallbackRules(
        allowed_hosts=("hooks.example.com", "10.0.0.1"), resolve=lambda *_: answers("10.0.0.1")
    )

    assert reason_for("https://10.0.0.1/", rules) == PRIVATE
    with pytest.raises(CallbackRefused):
        rules.addresses(rules.parse("https://hooks.example.com/"))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("host", "found", "addresses"),
    [
        ("localhost", ["::1", "127.0.0.1"], (IPv4Address("127.0.0.1"), IPv6Address("::1"))),
        ("127.0.0.1", [], (IPv4Address("127.0.0.1"),)),
        ("127.9.9.9", [], (IPv4Address("127.9.9.9"),)),
        ("[::1]", [], (IPv6Address("::1"),)),
        ("hooks.example.com", ["127.0.0.1"], (IPv4Address("127.0.0.1"),)),
    ],
)
def test_a_laptop_is_reached_at_any_port(
    scheme: str, host: str, found: list[str], addresses: tuple[Address, ...]
) -> None:
    rules = CallbackRules(loopback=True, resolve=lambda *_: answers(*found))

    target = rules.parse(f"{scheme}://{host}:50123/a")

    assert target == Target(scheme, host.strip("[]"), 50123, "/a")
    assert rules.addresses(target) == addresses


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1", "http://[::1]", "http://localhost", "https://example.com"]
)
def test_a_laptop_has_65535_ports(host: str) -> None:
    assert LAPTOP.parse(f"{host}:65535/").port == 65_535
    assert reason_for(f"{host}:65536/", LAPTOP) == "The port must be 65535 or less"
    assert reason_for(f"{host}:0/", LAPTOP) == FORM


def test_on_a_laptop_http_has_its_own_port() -> None:
    target = LAPTOP.parse("http://127.0.0.1/")

    assert target == Target("http", "127.0.0.1", 80, "/")
    assert target.authority == "127.0.0.1"


@pytest.mark.parametrize(
    ("url", "address", "reason"),
    [
        ("http://hooks.example.com/", "1.1.1.1", HTTPS),
        ("https://hooks.example.com:50123/", "1.1.1.1", PORT),
        ("https://hooks.example.com/", "10.0.0.1", PRIVATE),
        ("https://hooks.example.com/", "::ffff:127.0.0.1", PRIVATE),
        ("https://hooks.example.com/", "0.0.0.0", PRIVATE),
    ],
)
def test_whatever_is_not_the_laptop_is_reached_as_from_everywhere(
    url: str, address: str, reason: str
) -> None:
    rules = CallbackRules(loopback=True, resolve=lambda *_: answers(address))

    with pytest.raises(CallbackRefused) as raised:
        rules.addresses(rules.parse(url))

    assert raised.value.reason == reason


@pytest.mark.parametrize("host", [host for host in BLOCKED if host not in ("127.0.0.1", "::1")])
def test_a_laptop_spells_itself_in_one_way(host: str) -> None:
    assert reason_for(url_of(host), LAPTOP) in (PRIVATE, NAME, FORM)


@given(
    st.ip_addresses()
    | st.ip_addresses(network="2000::/3")
    | st.sampled_from([address for address in BLOCKED_ADDRESSES if "%" not in address]).map(ip_address)
)
def test_what_requests_hardened_refuses_is_refused_and_else_what_is_not_in_use(address: Address) -> None:
    ours, theirs = passes_here(address), passes_there(address)

    assert theirs or not ours
    assert ours or not theirs or any(address in network for network in STRICTER)


def passes_here(address: Address) -> bool:
    try:
        resolving(str(address)).addresses(HOOKS)
    except CallbackRefused:
        return False
    return True


def passes_there(address: Address) -> bool:
    try:
        get_ip_address(str(address), 443, allow_loopback=False)
    except InvalidIPAddress:
        return False
    return True


@given(URLS | URLS.map("https://{}".format) | URLS.map("https://example.com{}".format) | st.text())
@example("https://example.com:8443/a?b")
@example("https://[2a00::1]/")
def test_what_passes_is_the_same_to_every_reader(url: str) -> None:
    try:
        target = RULES.parse(url)
    except CallbackRefused:
        return

    by_urllib, by_urllib3 = urlsplit(url), parse_url(url)
    assert by_urllib.hostname == target.host == (by_urllib3.host or "").strip("[]")
    assert (by_urllib.port or 443) == target.port == (by_urllib3.port or 443)
    assert RULES.parse(f"https://{target.authority}{target.path}") == target
