from collections.abc import Callable
from typing import Any

from chalice import Chalice

from local_cloud.cloud import let_threads_share


def look(event: Any) -> None: ...


def index() -> None: ...


def pass_on(event: Any, handle: Callable[[Any], Any]) -> Any:
    return handle(event)


def test_each_thread_that_calls_a_function_first_gets_all_of_its_middleware() -> None:
    app = Chalice("tiny", configure_logs=False)
    app.register_middleware(pass_on)
    app.on_s3_event("pictures")(look)
    app.route("/")(index)

    let_threads_share(app)

    handler = app.handler_map["look"]
    assert [list(handler.middleware_handlers) for _ in range(2)] == [[pass_on], [pass_on]]
