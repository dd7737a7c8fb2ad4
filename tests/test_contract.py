from dataclasses import fields
from types import ModuleType

import msgspec
import pytest

from chalicelib import contract, model
from chalicelib.contract import ABOUT, OPERATIONS, WORDS, ImageLabel, Operation, Summary
from chalicelib.document import Match

QUERIES = sorted(
    {operation.query for operation in OPERATIONS.values()} - {contract.Nothing},
    key=lambda query: query.__name__,
)


def test_every_route_has_its_operation_and_no_other_has(app_module: ModuleType) -> None:
    routes = {(method, path) for path, methods in app_module.app.routes.items() for method in methods}

    assert set(OPERATIONS) == routes


@pytest.mark.parametrize(
    ("answer", "known", "more"),
    [
        pytest.param(contract.Image, model.Image, [], id="image"),
        pytest.param(Summary, model.Summary, ["thumbnail_url"], id="summary"),
        pytest.param(ImageLabel, model.Label, [], id="label"),
        pytest.param(contract.Hit, model.Summary, ["thumbnail_url", "matched"], id="hit"),
    ],
)
def test_an_answer_says_all_that_the_model_knows(
    answer: type[msgspec.Struct], known: type, more: list[str]
) -> None:
    own = [field.name for field in fields(known)]

    names = ["image_id", "source_file", *(name for name in own if name != "source_file"), *more]
    assert [*answer.__struct_fields__] == names


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.__name__)
def test_each_parameter_has_words_for_what_it_must_be(query: type[msgspec.Struct]) -> None:
    assert set(query.__struct_encode_fields__) <= set(WORDS)


def test_a_match_says_all_that_is_known_of_it() -> None:
    assert [*contract.Match.__struct_fields__] == [field.name for field in fields(Match)]


def test_only_what_has_a_list_of_values_may_be_repeated() -> None:
    repeatable = {query.__name__: contract.repeatable(query) for query in QUERIES}

    assert {name: names for name, names in repeatable.items() if names} == {"SearchQuery": {"label", "not"}}


def test_no_removed_image_is_ever_answered() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("removed", contract.VisibleStatus)


def test_what_is_described_is_there() -> None:
    members = {
        name
        for operation in OPERATIONS.values()
        for kind in (operation.answer, contract.Hit, contract.Match)
        for name in getattr(kind, "__struct_fields__", ())
    }

    assert set(ABOUT) <= members


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=map(" ".join, OPERATIONS))
def test_a_summary_is_a_line_without_an_end(operation: Operation) -> None:
    assert operation.summary[0].isupper()
    assert operation.summary[-1].isalpha()
    assert len(operation.summary) < 60
