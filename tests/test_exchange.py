import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from itertools import count
from threading import Event
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
from trustme import CA

from chalicelib.callback_url import Target
from chalicelib.exchange import LIMITS, Answer, Deadline, Exchange, Garbled, Limits
from tests.certificates import Observed, showing, showing_its_own, trusting
from tests.receivers import (
    Receiver,
    Step,
    Visit,
    answer,
    breaking_off,
    dripping,
    pouring,
    receiver,
    refusing,
    saying,
    silent,
    unanswering,
)

REQUEST = b"POST /hook HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
TLS_RECORD = b"\x16\3\3\x40\0"  # the start of one of 16 kB, as handshakes come in
LONG_AGO, RECENTLY = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC)
LATER, MUCH_LATER = datetime(2100, 1, 1, tzinfo=UTC), datetime(2100, 2, 1, tzinfo=UTC)
THERE = [IPv4Address("127.0.0.1")]
NOWHERE = IPv4Address("255.255.255.255")  # of no host, so that a connection fails at once
STRANGER = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
SOON = Limits(total=0.2)


@pytest.fixture(scope="module")
def authority() -> CA:
    return CA()


def exchange(limits: Limits = LIMITS, context: ssl.SSLContext = STRANGER) -> Exchange:
    deadline = Deadline(monotonic, monotonic() + limits.total)
    return Exchange(context, limits, deadline)


def hasty(seconds: int, limits: Limits = LIMITS) -> Exchange:
    """A second goes by whenever somebody looks at the clock."""
    moments = count()
    return Exchange(STRANGER, limits, Deadline(lambda: next(moments), seconds))


def target(port: int, scheme: str = "http", host: str = "hooks.example.com") -> Target:
    return Target(scheme, host, port, "/hook")


def send(served: Receiver, limits: Limits = LIMITS) -> Answer:
    return exchange(limits).send(REQUEST, target(served.port), THERE)


def send_in_tls(served: Receiver, authority: CA, limits: Limits = LIMITS) -> Answer:
    return exchange(limits, trusting(authority)).send(REQUEST, target(served.port, "https"), THERE)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes this thread has taken from the network with each read."""
    counts: list[int] = []
    recv_into, here = socket.socket.recv_into, threading.current_thread()

    def counting(line: socket.socket, *args: Any) -> int:
        count = recv_into(line, *args)
        if threading.current_thread() is here:
            counts.append(count)
        return count

    monkeypatch.setattr(socket.socket, "recv_into", counting)
    return counts


def test_a_callback_has_three_seconds_to_connect_fifteen_in_all_and_64_kilobytes_of_answer() -> None:
    assert Limits(connect=3, total=15, courtesy=1, answer=65_536) == LIMITS


def test_a_deadline_leaves_less_and_less_time_and_then_none() -> None:
    moments = iter([10.0, 14.5, 15.0])
    deadline = Deadline(lambda: next(moments), 15.0)

    assert deadline.left() == 5.0
    assert deadline.left() == 0.5
    with pytest.raises(TimeoutError):
        deadline.left()


@pytest.mark.parametrize(("seconds", "moment"), [(3.0, 13.0), (5.0, 15.0), (7.0, 15.0)])
def test_a_part_of_the_time_ends_no_later_than_all_of_it(seconds: float, moment: float) -> None:
    assert Deadline(lambda: 10.0, 15.0).within(seconds).moment == moment


def test_the_request_arrives_as_it_is() -> None:
    with receiver() as served:
        assert send(served) == Answer(200, None)

    [request] = served.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook", b"{}")
    assert request.headers == {"host": "hooks.example.com", "content-length": "2"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", Answer(200, None), id="bare"),
        pytest.param(b"HTTP/1.0 404 Not Found\r\n\r\n", Answer(404, None), id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 204\r\n\r\n", Answer(204, None), id="without a reason"),
        pytest.param(b"HTTP/1.1 204 \r\n\r\n", Answer(204, None), id="with an empty reason"),
        pytest.param(b"HTTP/1.1 200 \xe9t\xe9\r\n\r\n", Answer(200, None), id="with a reason beyond ASCII"),
        pytest.param(b"HTTP/1.1 503 Busy\nRETRY-AFTER:5\n\n", Answer(503, "5"), id="lines without CR"),
        pytest.param(
            b"HTTP/1.1 503 Busy\r\nX: \xff\r\nRetry-After: \t5 \r\nodd\r\n\r\n",
            Answer(503, "5"),
            id="odd headers",
        ),
        pytest.param(
            INTERIM + b"HTTP/1.1 103 Early Hints\r\nRetry-After: 7\r\n\r\nHTTP/1.1 201 Made\r\n\r\n",
            Answer(201, None),
            id="after what is no answer yet",
        ),
    ],
)
def test_an_answer_is_its_status_and_when_to_come_again(data: bytes, expected: Answer) -> None:
    with receiver(saying(data)) as served:
        assert send(served) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"hello\n", id="HTTP/0.9"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="SSH"),
        pytest.param(b"HTTP/2 200 OK\r\n\r\n", id="HTTP/2"),
        pytest.param(b"HTTP/1.1 600 OK\r\n\r\n", id="no such status"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="a long status"),
        pytest.param(b"HTTP/1.1 20\r\n\r\n", id="a short status"),
        pytest.param(b"HTTP/1.1 -20 OK\r\n\r\n", id="a negative status"),
        pytest.param(b"HTTP/1.1\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK", id="half a line"),
        pytest.param(b"\r\nHTTP/1.1 200 OK\r\n\r\n", id="an empty line first"),
        pytest.param(b"\0" * 100 + b"\n", id="zeros"),
        pytest.param(b"x" * 70_000, id="a line of 70 kB"),
        pytest.param(HEAD + b"X: " + b"x" * 70_000, id="a header of 70 kB"),
        pytest.param(HEAD + b"X: x\r\n" * 20_000, id="20,000 headers"),
        pytest.param(INTERIM * 5_000, id="5,000 times no answer yet"),
    ],
)
def test_what_is_not_http_is_garbled(data: bytes) -> None:
    with receiver(saying(data)) as served, pytest.raises(Garbled):
        send(served)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="at once"),
        pytest.param(HEAD, id="after the status"),
        pytest.param(HEAD + b"X: x\r\n", id="after a header"),
        pytest.param(HEAD + b"X: ", id="within a header"),
        pytest.param(INTERIM, id="before the real answer"),
    ],
)
def test_who_hangs_up_before_the_end_of_the_head_has_not_answered(data: bytes) -> None:
    with receiver(saying(data)) as served, pytest.raises(ConnectionAbortedError):
        send(served)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(silent, id="nothing"),
        pytest.param(dripping(b"", b"H"), id="a line byte by byte"),
        pytest.param(dripping(HEAD, b"X"), id="a header byte by byte"),
        pytest.param(dripping(HEAD, b"X: x\r\n"), id="one header after the other"),
        pytest.param(dripping(b"", INTERIM), id="no answer yet, again and again"),
    ],
)
def test_the_time_ends_whatever_dribbles_in(step: Step) -> None:
    with receiver(step) as served, pytest.raises(TimeoutError):
        send(served, SOON)


def test_the_time_ends_while_a_request_is_not_taken() -> None:
    is_over = Event()

    with receiver(lambda _: is_over.wait()) as served, pytest.raises(TimeoutError):
        exchange(SOON).send(REQUEST + b" " * 50_000_000, target(served.port), THERE)

    is_over.set()


def test_the_time_ends_while_a_request_is_taken_bit_by_bit() -> None:
    sips: list[int] = []

    def sip(visit: Visit) -> None:
        while part := visit.sip():
            sips.append(len(part))

    with receiver(sip) as served, pytest.raises(TimeoutError):
        hasty(4).send(REQUEST + b" " * 50_000_000, target(served.port), THERE)

    assert sum(sips) < 25_000_000


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(dripping(HEAD + b"\r\n", b"x"), id="byte by byte"),
        pytest.param(dripping(HEAD + b"Content-Length: 9\r\n\r\n", b""), id="never"),
        pytest.param(pouring(HEAD + b"\r\n", b"x" * 100_000), id="without an end"),
        pytest.param(saying(HEAD + b"Content-Length: 1000\r\n\r\nx"), id="in part"),
        pytest.param(saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff"), id="garbled"),
    ],
)
def test_an_answer_counts_however_its_body_comes(step: Step) -> None:
    with receiver(step) as served:
        assert send(served, Limits(courtesy=0.05)) == Answer(200, None)


@pytest.mark.parametrize("limits", [LIMITS, Limits(answer=10_000)], ids=["by default", "or less"])
def test_no_more_is_taken_than_an_answer_may_have(limits: Limits, taken: list[int]) -> None:
    with receiver(pouring(HEAD + b"\r\n", b"x" * 1_000_000)) as served:
        send(served, limits)

    assert sum(taken) == limits.answer


def test_a_body_is_waited_for_no_longer_than_is_polite(taken: list[int]) -> None:
    with receiver(dripping(HEAD + b"\r\n", b"x")) as served:
        assert hasty(1000, Limits(courtesy=5)).send(REQUEST, target(served.port), THERE) == Answer(200, None)

    assert len(taken) < 10


def test_a_body_is_heard_to_its_end_so_that_its_sender_sees_no_failure(taken: list[int]) -> None:
    with receiver(answer(200, b"x" * 30_000)) as served:
        send(served)

    assert sum(taken) > 30_000
    assert taken[-1] == 0


def test_the_next_address_is_tried_when_one_does_not_connect() -> None:
    addresses = [IPv4Address(f"127.0.0.{last}") for last in (4, 3, 2, 1)]

    with receiver() as served:
        assert exchange().send(REQUEST, target(served.port), addresses) == Answer(200, None)


def test_an_address_that_does_not_answer_has_its_time_and_no_more() -> None:
    limits = Limits(connect=0.05)

    with (
        unanswering() as silent_one,
        receiver(address="127.0.0.2", port=urlsplit(silent_one).port or 0) as served,
    ):
        addresses = [IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")]
        assert exchange(limits).send(REQUEST, target(served.port), addresses) == Answer(200, None)


def test_a_connection_that_is_made_too_late_is_not_used() -> None:
    moments = iter([0.0, 0.0, 15.0])
    late = replace(exchange(), deadline=Deadline(lambda: next(moments), 15.0))

    with receiver() as served, pytest.raises(TimeoutError):
        late.send(REQUEST, target(served.port), THERE)

    assert served.requests == []


def test_a_host_has_four_tries() -> None:
    addresses = [IPv4Address(f"127.0.0.{last}") for last in (5, 4, 3, 2, 1)]

    with receiver() as served, pytest.raises(ConnectionRefusedError):
        exchange().send(REQUEST, target(served.port), addresses)

    assert served.connections == 0


@pytest.mark.parametrize("order", [1, -1], ids=["before the other", "after it"])
def test_of_several_failures_a_time_out_counts(order: int) -> None:
    addresses = [IPv4Address("127.0.0.1"), NOWHERE][::order]

    with unanswering() as url, pytest.raises(TimeoutError):
        exchange(Limits(connect=0.05)).send(REQUEST, target(urlsplit(url).port or 0), addresses)


def test_else_the_first_one_counts() -> None:
    with refusing() as url, pytest.raises(ConnectionRefusedError):
        exchange().send(REQUEST, target(urlsplit(url).port or 0), [*THERE, NOWHERE])


def test_who_has_connected_is_the_only_one_to_get_the_request() -> None:
    addresses = [IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")]

    with (
        receiver(saying(b"")) as first,
        receiver(address="127.0.0.2", port=first.port) as second,
        pytest.raises(ConnectionAbortedError),
    ):
        exchange().send(REQUEST, target(first.port), addresses)

    assert (first.connections, second.connections) == (1, 0)


@pytest.mark.parametrize("name", ["hooks.example.com", "*.example.com"])
def test_a_receiver_is_asked_for_its_name_and_proves_it(name: str, authority: CA) -> None:
    context = showing(authority.issue_cert("other.example", name))
    asked: list[str | None] = []
    context.sni_callback = lambda _line, server_name, _context: asked.append(server_name)

    with receiver(tls=context) as served:
        assert send_in_tls(served, authority) == Answer(200, None)

    assert asked == ["hooks.example.com"]
    assert [request.headers["host"] for request in served.requests] == ["hooks.example.com"]


def test_an_address_proves_itself_by_a_certificate_for_it(authority: CA) -> None:
    with receiver(tls=showing(authority.issue_cert("127.0.0.1"))) as served:
        there = target(served.port, "https", "127.0.0.1")

        assert exchange(context=trusting(authority)).send(REQUEST, there, THERE) == Answer(200, None)


CERTIFICATES: dict[str, Callable[[CA], ssl.SSLContext]] = {
    "expired": lambda authority: showing(
        authority.issue_cert("hooks.example.com", not_before=LONG_AGO, not_after=RECENTLY)
    ),
    "not valid yet": lambda authority: showing(
        authority.issue_cert("hooks.example.com", not_before=LATER, not_after=MUCH_LATER)
    ),
    "self-signed": lambda _: showing_its_own(),
    "by an unknown authority": lambda _: showing(CA().issue_cert("hooks.example.com")),
    "for another name": lambda authority: showing(authority.issue_cert("example.com")),
    "for names below": lambda authority: showing(authority.issue_cert("*.hooks.example.com")),
    "for the address": lambda authority: showing(authority.issue_cert("127.0.0.1")),
}


@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_nothing_is_sent_to_who_cannot_prove_to_be_the_host(certificate: str, authority: CA) -> None:
    with (
        receiver(tls=CERTIFICATES[certificate](authority)) as served,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        send_in_tls(served, authority)

    assert served.requests == []


@pytest.mark.parametrize(
    ("step", "error"),
    [
        pytest.param(saying(HEAD + b"\r\n", unasked=True), ssl.SSLError, id="plain HTTP"),
        pytest.param(saying(b"", unasked=True), OSError, id="the end"),
        pytest.param(breaking_off, OSError, id="a reset"),
        pytest.param(silent, TimeoutError, id="nothing"),
        pytest.param(dripping(TLS_RECORD, b"\2", unasked=True), TimeoutError, id="a handshake byte by byte"),
    ],
)
def test_who_does_not_speak_tls_gets_no_request(step: Step, error: type[OSError], authority: CA) -> None:
    with receiver(step) as served, pytest.raises(error):
        send_in_tls(served, authority, SOON)


def test_a_handshake_has_the_time_that_is_left_and_not_that_of_a_connection() -> None:
    context = Observed(ssl.PROTOCOL_TLS_CLIENT)
    at_rest = replace(exchange(context=context), deadline=Deadline(lambda: 2.0, 15.0))

    with receiver(saying(HEAD, unasked=True)) as served, pytest.raises(ssl.SSLError):
        at_rest.send(REQUEST, target(served.port, "https"), THERE)

    assert context.seconds == 13.0


@pytest.mark.parametrize(
    "step", [silent, dripping(HEAD, b"X"), dripping(HEAD, b"X: x\r\n")], ids=["nothing", "bytes", "headers"]
)
def test_the_time_ends_in_tls_too(step: Step, authority: CA) -> None:
    with (
        receiver(step, tls=showing(authority.issue_cert("hooks.example.com"))) as served,
        pytest.raises(TimeoutError),
    ):
        send_in_tls(served, authority, SOON)
