"""What the API says when AWS's services accept its requests and never answer them, and how soon."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

from chalicelib.callback import Callback
from chalicelib.errors import ServiceFailed
from chalicelib.model import image_id
from chalicelib.services import PATIENCE, Services
from chalicelib.settings import Settings
from chalicelib.silence import at_most
from chalicelib.tokens import Scope
from tests.api_client import Answer, ApiClient
from tests.faults import json_error, xml_error
from tests.interception import sdk_waiting_by
from tests.lambda_events import context
from tests.permissions import policies_of
from tests.pictures import picture
from tests.test_app import problem

SOURCE_FILE = "a b.png"
KEY = image_id(SOURCE_FILE)
METHOD = "arn:aws:execute-api:us-east-1:123456789012:api/dev/GET/images"
NOBODY = "http://127.0.0.1:9"
EVENT = f"evt_{32 * '0'}"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# Every route that asks AWS for anything, with requests to it.
REQUESTS = [
    ("POST", "/images", "/images", b'{"callback_url": "https://192.0.9.1/"}'),
    ("GET", "/images", "/images", b""),
    ("GET", "/images", "/images?status=failed", b""),
    ("GET", "/images", "/images?key=a", b""),
    ("GET", "/images/{image_id}", f"/images/{KEY}", b""),
    ("DELETE", "/images/{image_id}", f"/images/{KEY}", b""),
    ("POST", "/images/{image_id}/release", f"/images/{KEY}/release", b""),
    ("POST", "/images/{image_id}/relabel", f"/images/{KEY}/relabel", b""),
    ("GET", "/images/{image_id}/deliveries", f"/images/{KEY}/deliveries", b""),
    (
        "POST",
        "/images/{image_id}/deliveries/{delivery_id}/replay",
        f"/images/{KEY}/deliveries/{EVENT}/replay",
        b"",
    ),
    ("GET", "/images/{image_id}/labels/{label}", f"/images/{KEY}/labels/dog", b""),
    ("GET", "/labels/{label}/images", "/labels/dog/images", b""),
    ("GET", "/labels", "/labels", b""),
    ("GET", "/search", "/search?label=dog", b""),
]
# These ask AWS for nothing.
ALONE = {("GET", "/health"), ("GET", "/docs"), ("GET", "/openapi.json")}
ROUTES = pytest.mark.parametrize(
    ("method", "path", "body"),
    [(method, path, body) for method, _, path, body in REQUESTS],
    ids=[f"{method} {path}" for method, _, path, _ in REQUESTS],
)
MOST_CALLS = 20
LONGEST_PAUSE = 1.0  # seconds, of the SDK's between an attempt and the next


@dataclass
class SilentServer:
    """Accepts whatever connects to it, and says nothing."""

    listener: socket.socket
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                self.connections.append(self.listener.accept()[0])


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SilentServer(listener)
        thread = threading.Thread(target=server.accept, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in server.connections:
        connection.close()


@pytest.fixture
def api_over(
    server: ApiClient, app_module: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The API on services at this address."""
    policies_of(settings.stage)  # which hold it to its rights, and are read once

    def over(url: str) -> ApiClient:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setattr(app_module, "services", Services(settings))
        return server

    return over


def unavailable() -> dict[str, Any]:
    detail = "A service behind this API gives no answer at the moment; try again shortly."
    return problem(503, "Service Unavailable", detail)


@dataclass
class Silence:
    """Lets so many requests to AWS through, and no answer comes to any after them."""

    after: int
    but_for_repeats: bool = False  # whose answers come
    seconds: float = 0.0  # that are waited for answers
    _sent: int = 0

    def wait(self, _: float) -> None:
        self.seconds += LONGEST_PAUSE

    def refuse(self, session: Any, request: AWSPreparedRequest) -> Any:
        self.seconds += session._timeout.connect_timeout + session._timeout.read_timeout
        raise ReadTimeoutError(endpoint_url=request.url)

    @contextmanager
    def fallen(self) -> Iterator[None]:
        send = URLLib3Session.send

        def sent(session: Any, request: AWSPreparedRequest) -> Any:
            self._sent += 1
            if self._sent <= self.after or (self.but_for_repeats and is_repeated(request)):
                return send(session, request)
            return self.refuse(session, request)

        with pytest.MonkeyPatch.context() as patch, sdk_waiting_by(self.wait):
            patch.setattr(URLLib3Session, "send", sent)
            yield


@dataclass
class Storm(Silence):
    """Puts them off instead."""

    def refuse(self, _: Any, request: AWSPreparedRequest) -> Any:
        is_json = "X-Amz-Target" in request.headers
        throttled = json_error(400, "ThrottlingException") if is_json else xml_error(503, "SlowDown")
        return throttled(request)


def is_repeated(request: AWSPreparedRequest) -> bool:
    return b"attempt=1" not in request.headers["amz-sdk-request"]


def ask(api: ApiClient, method: str, path: str, body: bytes) -> Answer:
    return api.send(method, path, body=body, headers={"Content-Type": "application/json"})


def test_the_requests_are_to_all_routes_that_ask_aws_for_anything(app_module: ModuleType) -> None:
    routes = {(method, route) for route, methods in app_module.app.routes.items() for method in methods}

    assert {(method, route) for method, route, _, _ in REQUESTS} == routes - ALONE


def in_quarantine(services: Services) -> None:
    strict = replace(services.settings, detect=("labels", "moderation"), moderation="quarantine")
    services.s3.put_object(
        Bucket=services.settings.images_bucket, Key=SOURCE_FILE, Body=picture("Violence 99")
    )
    Services(strict).labelling.label(SOURCE_FILE)


def labelled_and_told(services: Services) -> None:
    services.s3.put_object(Bucket=services.settings.images_bucket, Key=SOURCE_FILE, Body=picture("Dog 99"))
    services.labelling.label(SOURCE_FILE)
    services.indexing.update(SOURCE_FILE)
    url, host, moment = "https://192.0.9.1/", "192.0.9.1", MOMENT.timestamp()
    callback = Callback(
        SOURCE_FILE, EVENT, "image.labelled", url, host, "{}", MOMENT.isoformat(), moment, moment
    )
    services.callbacks.announce(callback, services.now())


PREPARED = [
    (method, path, body, in_quarantine if route.endswith("release") else labelled_and_told)
    for method, route, path, body in REQUESTS
]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "path", "body", "prepare"),
    [*PREPARED, ("DELETE", f"/images/{KEY}", b"", in_quarantine)],
    ids=[*(f"{method} {path}" for method, path, _, _ in PREPARED), "DELETE from quarantine"],
)
def test_whatever_is_silent_from_whichever_call_on_a_request_ends_within_five_seconds(
    method: str,
    path: str,
    body: bytes,
    prepare: Callable[[Services], None],
    api: ApiClient,
    services: Services,
) -> None:
    policies_of(services.settings.stage)  # which are read once
    for calls in range(MOST_CALLS):
        if calls == 0 or method != "GET":  # which changes nothing
            prepare(services)
        silence = Silence(calls)

        with silence.fallen():
            answer = ask(api, method, path, body)

        if silence.seconds == 0:  # it makes no more calls than that
            assert calls > 0
            return
        assert silence.seconds < 5
        assert (answer.status, answer.body) == (503, unavailable()) or answer.status == 202
    pytest.fail("it never came to an end")


@pytest.mark.parametrize(
    ("method", "path", "body", "prepare"),
    PREPARED,
    ids=[f"{method} {path}" for method, path, _, _ in PREPARED],
)
@pytest.mark.parametrize("trouble", [Silence, Storm])
def test_when_every_first_attempt_comes_to_nothing_a_request_ends_within_five_seconds(
    trouble: type[Silence],
    method: str,
    path: str,
    body: bytes,
    prepare: Callable[[Services], None],
    api: ApiClient,
    services: Services,
) -> None:
    policies_of(services.settings.stage)  # which are read once
    prepare(services)
    silence = trouble(0, but_for_repeats=True)

    with silence.fallen():
        answer = ask(api, method, path, body)

    assert 0 < silence.seconds < 5
    assert (answer.status, answer.body) == (503, unavailable()) or answer.status < 300
    assert ask(api, method, path, body).status < 500


def test_many_lists_that_are_put_off_are_waited_for_as_long_as_one(
    api: ApiClient, services: Services
) -> None:
    storm = Storm(0, but_for_repeats=True)

    with storm.fallen():
        answer = api.get("images")

    assert (answer.status, answer.body) == (503, unavailable())
    # One for the token, and one for the first list; that the second is put off too ends it.
    assert storm.seconds == 2 * LONGEST_PAUSE


def test_when_every_first_attempt_is_silent_a_token_is_checked_within_five_seconds(
    app_module: ModuleType, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "services", services)
    policies_of(services.settings.stage)
    token = services.tokens.create("reader", [Scope.READ], timedelta(days=1))
    silence = Silence(0, but_for_repeats=True)

    with silence.fallen():
        granted = app_module.api_token(
            {"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": METHOD}, context()
        )

    assert granted["context"]["token"] == "reader"
    assert silence.seconds < 5


@ROUTES
def test_a_service_that_nobody_can_connect_to_is_a_503(
    method: str, path: str, body: bytes, api_over: Any
) -> None:
    answer = ask(api_over(NOBODY), method, path, body)

    assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, unavailable(), "2")


def test_a_service_that_never_answers_is_given_up_after_the_attempts_that_it_is_worth(
    api_over: Any, silent: SilentServer
) -> None:
    answer = api_over(silent.url).get("images", KEY)

    assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, unavailable(), "2")
    attempts: Any = PATIENCE
    assert len(silent.connections) == attempts.retries["total_max_attempts"]


def test_who_waits_in_vain_costs_nobody_beside_him_his_attempts(services: Services) -> None:
    silence = Silence(0)
    patience: Any = PATIENCE
    seen: list[object] = []

    def look() -> None:
        seen.append(services.bucket.look(SOURCE_FILE))

    with at_most(1):
        for _ in range(2):
            with silence.fallen(), pytest.raises(ServiceFailed):
                look()
        beside = threading.Thread(target=look)
        beside.start()
        beside.join()
    look()

    assert seen == [None, None]
    assert silence.seconds == patience.connect_timeout + patience.read_timeout  # the second made no attempt
