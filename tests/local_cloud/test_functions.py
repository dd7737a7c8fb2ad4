from typing import Any

import pytest
from chalice import Chalice

from local_cloud.clock import ManualClock
from local_cloud.functions import Function, Functions, FunctionSettings, Outcome


def function(handler: Any) -> Function:
    return Function("tiny-local-do", handler, FunctionSettings(timeout=10, memory=256), ManualClock())


def test_an_invocation_gives_back_the_answer() -> None:
    assert function(lambda event, _: event["n"] + 1).invoke({"n": 1}) == Outcome(answer=2)


def test_every_invocation_has_its_own_request_id_unless_one_is_given() -> None:
    ask = function(lambda _, context: context.aws_request_id)

    ids = {ask.invoke({}).answer, ask.invoke({}).answer, ask.invoke({}, "given").answer}

    assert len(ids) == 3
    assert "given" in ids


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(1), GeneratorExit()], ids=lambda e: type(e).__name__
)
def test_whatever_is_raised_is_the_outcome(error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    assert function(fail).invoke({}) == Outcome(error=error)


def test_ctrl_c_is_for_the_person_at_the_keyboard() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        function(interrupt).invoke({})


def test_an_event_that_is_no_json_never_reaches_a_function() -> None:
    outcome = function(lambda *_: "called").invoke({"bytes": b"x"})

    assert isinstance(outcome.error, TypeError)


def test_a_function_is_named_after_app_stage_and_handler(app: Chalice) -> None:
    app.lambda_function(name="do")(lambda *_: None)

    made = Functions(app, "dev", ManualClock(), {"do": FunctionSettings(timeout=7)})["do"]

    assert (made.name, made.settings) == ("tiny-dev-do", FunctionSettings(timeout=7, memory=128))
