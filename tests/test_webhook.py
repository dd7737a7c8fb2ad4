import base64
import errno
import gzip
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError
from trustme import CA

from chalicelib.callback_url import CallbackRules, Found
from chalicelib.exchange import LIMITS, Limits
from chalicelib.webhook import Attempt, Fault, Kind, Webhook, retry_after, signed
from tests.addresses import BLOCKED, BLOCKED_ADDRESSES, PUBLIC, answers, url_of
from tests.certificates import Observed, showing, trusting
from tests.receivers import (
    Step,
    answer,
    dripping,
    pouring,
    receiver,
    refusing,
    resetting,
    saying,
    silent,
    unanswering,
)

KEY, OTHER, STRANGE = (bytes([byte]) * 32 for byte in range(3))
BODY = json.dumps({"type": "image.labelled", "data": {"source_file": "é.png"}}, ensure_ascii=False).encode()
NOW = datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)
DAY = 86_400
NAMED = "https://hooks.example.com/"
LOCAL = CallbackRules(loopback=True)


def stopped() -> float:
    return 0.0


@cache
def trusted_by_default() -> ssl.SSLContext:
    return ssl.create_default_context()


def webhook(
    rules: CallbackRules = LOCAL,
    context: ssl.SSLContext | None = None,
    limits: Limits = LIMITS,
    clock: Callable[[], float] = stopped,
    now: Callable[[], datetime] = lambda: NOW,
) -> Webhook:
    return Webhook(rules, now, context or trusted_by_default(), limits, clock)


def post(url: str, sender: Webhook | None = None) -> Attempt:
    return (sender or webhook()).post(url, "evt_1", BODY, [KEY])


def resolving(*addresses: str) -> CallbackRules:
    return CallbackRules(resolve=lambda *_: answers(*addresses))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whereto a connection was tried; nothing gets out."""
    tried: list[Any] = []

    def refuse(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
    return tried


def accepts(key: bytes, headers: dict[str, str], body: bytes) -> bool:
    """What an independent receiver makes of it."""
    try:
        Verifier(key).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # it lets some of the latter out
        return False
    return True


def test_the_published_signature() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    assert signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key]) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(body=st.text().map(str.encode), bit=st.integers(min_value=0), data=st.data())
def test_a_receiver_takes_what_was_signed_and_nothing_that_differs_by_a_bit(
    body: bytes, bit: int, data: st.DataObject
) -> None:
    headers = signed("evt_0123456789abcdef", int(datetime.now(UTC).timestamp()), body, [KEY])
    assert accepts(KEY, headers, body)

    part = data.draw(st.sampled_from(["webhook-id", "webhook-timestamp", *(["body"] if body else [])]))
    changed = {**headers, "body": body.decode()}
    changed[part] = flipped(changed[part], bit)

    assert not accepts(KEY, changed, changed["body"].encode())


def flipped(text: str, bit: int) -> str:
    """With one of the lower seven bits of a character changed."""
    position, bit = divmod(bit % (len(text) * 7), 7)
    return text[:position] + chr(ord(text[position]) ^ 1 << bit) + text[position + 1 :]


def test_a_receiver_with_either_key_takes_it_and_no_other() -> None:
    with receiver() as served:
        attempt = webhook(now=lambda: datetime.now(UTC)).post(served.url, "evt_1", BODY, [KEY, OTHER])

    [request] = served.requests
    assert attempt == Attempt(Kind.DELIVERED, 0, 200)
    assert Verifier(KEY).verify(request.body, request.headers) == json.loads(BODY)
    assert Verifier(OTHER).verify(request.body, request.headers) == json.loads(BODY)
    assert not accepts(STRANGE, request.headers, request.body)


def test_what_a_receiver_gets() -> None:
    with receiver() as served:
        post(f"{served.url}/a%20b?c=d")

    [request] = served.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook/a%20b?c=d", BODY)
    assert request.headers == {
        "host": f"127.0.0.1:{served.port}",
        "user-agent": "image-labeller",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        **signed("evt_1", 1767323045, BODY, [KEY]),
    }


def test_each_attempt_has_the_same_id_and_its_own_time() -> None:
    moments = iter([NOW, NOW + timedelta(hours=75)])
    sender = webhook(now=lambda: next(moments))

    with receiver() as served:
        post(served.url, sender)
        post(served.url, sender)

    first, second = (request.headers for request in served.requests)
    assert first == {**second, **signed("evt_1", 1767323045, BODY, [KEY])}
    assert second == {**first, **signed("evt_1", 1767323045 + 75 * 3600, BODY, [KEY])}


def test_nothing_is_ever_sent_unsigned() -> None:
    with receiver() as served, pytest.raises(ValueError, match="unsigned"):
        webhook().post(served.url, "evt_1", BODY, [])

    assert served.connections == 0


@pytest.mark.parametrize(
    ("step", "attempt"),
    [
        *((answer(status), Attempt(Kind.DELIVERED, 0, status)) for status in (200, 201, 202, 204, 206, 299)),
        (answer(200, retry_after="5"), Attempt(Kind.DELIVERED, 0, 200)),
        (answer(410, retry_after="5"), Attempt(Kind.GONE, 0, 410, Fault.STATUS)),
        *(
            (answer(status, retry_after="5"), Attempt(Kind.FAILED, 0, status, Fault.STATUS))
            for status in (400, 401, 403, 404, 409, 413, 422, 499, 500, 501, 505, 599)
        ),
        *(
            (answer(status, retry_after="5"), Attempt(Kind.FAILED, 0, status, Fault.STATUS, 5))
            for status in (429, 502, 503, 504)
        ),
        (answer(503), Attempt(Kind.FAILED, 0, 503, Fault.STATUS)),
        (
            answer(429, retry_after="Fri, 02 Jan 2026 04:04:05 GMT"),
            Attempt(Kind.FAILED, 0, 429, Fault.STATUS, 3599),
        ),
        *(
            (answer(status, location="https://example.com/"), Attempt(Kind.FAILED, 0, status, Fault.REDIRECT))
            for status in (300, 301, 302, 303, 304, 307, 308, 399)
        ),
        (saying(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), Attempt(Kind.FAILED, 0, None, Fault.RESET)),
    ],
    ids=lambda value: f"{value.status} {value.retry_after or ''}" if isinstance(value, Attempt) else "",
)
def test_an_answer_is_judged_by_its_status(step: Step, attempt: Attempt) -> None:
    with receiver(step) as served:
        assert post(served.url) == attempt


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_nowhere(status: int) -> None:
    with receiver() as elsewhere, receiver(answer(status, location=elsewhere.url)) as served:
        assert post(served.url) == Attempt(Kind.FAILED, 0, status, Fault.REDIRECT)

    assert elsewhere.connections == 0


HEAD = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b"\0" * 10_000_000)


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        pytest.param(resetting, Fault.RESET, id="reset"),
        pytest.param(saying(b""), Fault.RESET, id="closed"),
        pytest.param(silent, Fault.TIMEOUT, id="silent"),
        pytest.param(dripping(HEAD, b"X: x\r\n"), Fault.TIMEOUT, id="headers without an end"),
        pytest.param(dripping(b"", b"H"), Fault.TIMEOUT, id="a status byte by byte"),
        pytest.param(saying(b"<html>Welcome</html>\n"), Fault.PROTOCOL, id="HTTP/0.9"),
        pytest.param(pouring(HEAD + b"X: ", b"x" * 100_000), Fault.PROTOCOL, id="a header without an end"),
        pytest.param(pouring(b"", b"x" * 100_000), Fault.PROTOCOL, id="garbage without an end"),
    ],
)
def test_a_hostile_receiver_is_a_failure(step: Step, fault: Fault) -> None:
    sender = webhook(limits=Limits(total=0.2), clock=monotonic)

    with receiver(step) as served:
        attempt = post(served.url, sender)

    assert attempt == Attempt(Kind.FAILED, attempt.milliseconds, error=fault)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(dripping(HEAD + b"\r\n", b"x"), id="byte by byte"),
        pytest.param(pouring(HEAD + b"Content-Length: 1000000000\r\n\r\n", b"x" * 100_000), id="of 1 GB"),
        pytest.param(answer(200, BOMB, content_encoding="gzip"), id="of zeros, compressed"),
        pytest.param(answer(200, b"{", content_type="application/json"), id="of broken JSON"),
    ],
)
def test_a_hostile_body_changes_nothing(step: Step) -> None:
    with receiver(step) as served:
        attempt = post(served.url, webhook(limits=Limits(courtesy=0.05), clock=monotonic))

    assert attempt == Attempt(Kind.DELIVERED, attempt.milliseconds, 200)


def test_nobody_listens() -> None:
    with refusing() as url:
        assert post(url) == Attempt(Kind.FAILED, 0, error=Fault.REFUSED)


def test_nobody_connects() -> None:
    with unanswering() as url:
        assert post(url, webhook(limits=Limits(connect=0.05))) == Attempt(Kind.FAILED, 0, error=Fault.TIMEOUT)


def test_there_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_: socket.socket, address: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(socket.socket, "connect", connect)

    assert post(url_of("1.1.1.1")) == Attempt(Kind.FAILED, 0, error=Fault.UNREACHABLE)


@pytest.mark.parametrize(
    ("error", "timed_out"), [(None, False), *((fault, fault == "timeout") for fault in Fault)]
)
def test_only_a_time_out_is_one(error: Fault | None, timed_out: bool) -> None:
    assert Attempt(Kind.FAILED, 0, error=error).timed_out is timed_out


def test_an_attempt_knows_how_long_it_took() -> None:
    moments = iter([10.0, 10.0421])

    assert post("ftp://x", webhook(clock=lambda: next(moments))) == Attempt(
        Kind.FAILED, 42, error=Fault.BLOCKED
    )


def test_a_name_is_proved_and_the_address_is_the_one_that_was_checked() -> None:
    authority = CA()
    rules = replace(LOCAL, resolve=lambda *_: answers("127.0.0.1"))

    with receiver(tls=showing(authority.issue_cert("hooks.example.com"))) as served:
        url = f"https://hooks.example.com:{served.port}/hook"
        trusted = post(url, webhook(rules, trusting(authority)))
        strange = post(url, webhook(rules))

    [request] = served.requests
    assert request.headers["host"] == f"hooks.example.com:{served.port}"
    assert trusted == Attempt(Kind.DELIVERED, 0, 200)
    assert strange == Attempt(Kind.FAILED, 0, error=Fault.TLS)


def test_an_attempt_has_fifteen_seconds() -> None:
    context = Observed(ssl.PROTOCOL_TLS_CLIENT)

    with receiver(saying(HEAD, unasked=True)) as served:
        attempt = post(f"https://127.0.0.1:{served.port}/", webhook(context=context))

    assert attempt == Attempt(Kind.FAILED, 0, error=Fault.TLS)
    assert context.seconds == 15


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as served:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        post(served.url)

    assert (proxy.connections, served.connections) == (0, 1)


@pytest.mark.parametrize("host", BLOCKED)
def test_no_socket_is_opened_to_a_blocked_host(host: str, opened: list[Any]) -> None:
    sender = webhook(resolving(host))

    assert post(url_of(host), sender) == Attempt(Kind.FAILED, 0, error=Fault.BLOCKED)
    assert opened == []


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES)
def test_no_socket_is_opened_to_a_name_with_a_blocked_address(address: str, opened: list[Any]) -> None:
    sender = webhook(resolving("1.1.1.1", address))

    assert post(NAMED, sender) == Attempt(Kind.FAILED, 0, error=Fault.BLOCKED)
    assert opened == []


@pytest.mark.parametrize("address", PUBLIC)
def test_a_socket_is_opened_to_a_public_address(address: str, opened: list[Any]) -> None:
    assert post(NAMED, webhook(resolving(address))) == Attempt(Kind.FAILED, 0, error=Fault.REFUSED)
    assert opened == [(address, 443)]


def test_a_name_that_turns_private_is_asked_once_an_attempt(opened: list[Any]) -> None:
    left = iter(["1.1.1.1", "127.0.0.1"])
    sender = webhook(CallbackRules(resolve=lambda *_: answers(next(left))))

    first, second = post(NAMED, sender), post(NAMED, sender)

    assert first == Attempt(Kind.FAILED, 0, error=Fault.REFUSED)
    assert second == Attempt(Kind.FAILED, 0, error=Fault.BLOCKED)
    assert opened == [("1.1.1.1", 443)]


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_AGAIN, socket.EAI_FAIL])
def test_a_name_that_nobody_knows_is_no_address(code: int, opened: list[Any]) -> None:
    def resolve(*_: object) -> Found:
        raise socket.gaierror(code, "said")

    assert post(NAMED, webhook(CallbackRules(resolve=resolve))) == Attempt(
        Kind.FAILED, 0, error=Fault.UNRESOLVED
    )
    assert opened == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("0", 0, id="at once"),
        pytest.param("120", 120, id="seconds"),
        pytest.param("007", 7, id="with zeros"),
        pytest.param("86400", DAY, id="a day"),
        pytest.param("86401", DAY, id="more than a day"),
        pytest.param("1000000000", DAY, id="absurd"),
        pytest.param("9" * 60_000, DAY, id="more digits than a number may have"),
        pytest.param("-5", 0, id="negative"),
        pytest.param("+5", 5, id="with a sign"),
        pytest.param("1.5", None, id="a fraction"),
        pytest.param("1e3", None, id="a power"),
        pytest.param("\u0663", None, id="a digit elsewhere"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("", None, id="empty"),
        pytest.param("soon", None, id="a word"),
        pytest.param("5, 6", None, id="two"),
        pytest.param("Fri, 02 Jan 2026 03:05:06 GMT", 60, id="a date"),
        pytest.param("Friday, 02-Jan-26 03:05:06 GMT", 60, id="a date of RFC 850"),
        pytest.param("Fri Jan  2 03:05:06 2026", 60, id="a date of C"),
        pytest.param("Fri, 02 Jan 2026 04:05:06 +0100", 60, id="a date elsewhere"),
        pytest.param("Fri, 02 Jan 2026 03:05:06 -0000", 60, id="a date nowhere"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0, id="a date long ago"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", DAY, id="a date far away"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 -2359", DAY, id="a date after all dates"),
        pytest.param("Fri, 31 Dec 99999 23:59:59 GMT", None, id="a year that is none"),
        pytest.param(f"Fri, 31 Dec {'9' * 30} 23:59:59 GMT", None, id="a year beyond all numbers"),
        pytest.param("Fri, 99 Jan 2026 03:05:06 GMT", None, id="a day that is none"),
        pytest.param("Fri, 02 Jan 2026 03:05:06 +9999", None, id="a zone that is none"),
    ],
)
def test_when_to_come_again(header: str | None, seconds: int | None) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} (Jan|Dec) \d{1,6} \d\d:\d\d:\d\d( [+-]\d{1,6})?"))
def test_whatever_the_header_says_it_is_no_more_than_a_day(header: str) -> None:
    seconds = retry_after(header, NOW)

    assert seconds is None or 0 <= seconds <= DAY
