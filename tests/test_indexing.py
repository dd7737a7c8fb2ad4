import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import items, rows
from chalicelib.document import document_of
from chalicelib.errors import Contended, Retryable
from chalicelib.indexing import ROUNDS
from chalicelib.model import Label
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.terms import Terms
from local_cloud.endpoint import Endpoint
from tests.answered import Answered
from tests.crash_points import Crash, Mortal, When
from tests.direct import straight_to
from tests.faults import after, cancelled, plan, raising
from tests.interception import intercept, sdk_waiting_by
from tests.random_faults import RandomFaults
from tests.search_index import expected, indexed, rows_of

KEY = "a/é #1.png"
DOG = Label("Dog", 98.1, (), ("Animal", "Pet"), ("Canine",))
CAT = Label("Cat", 88.0, (), ("Animal", "Pet"))
MANY = tuple(Label(f"Label {number}", 90, (), (f"Parent {number}",)) for number in range(3))
TRANSACT = "dynamodb.TransactWriteItems"
DAILY = [("nothing", "much at once"), ("a picture", "a removal")]

Change = Callable[[Answered], object]

CHANGES: dict[str, Change] = {
    "nothing": lambda _: None,
    "a picture": lambda answered: answered.label(KEY, DOG, text="TAXI 24/7"),
    "another answer": lambda answered: answered.label(KEY, CAT, text="TAXI"),
    "much at once": lambda answered: answered.label(KEY, *MANY, text="taxi"),
    "no label any more": lambda answered: answered.label(KEY),
    "a failure": lambda answered: answered.fail(KEY),
    "a removal": lambda answered: answered.remove(KEY),
    "quarantine": lambda answered: answered.quarantine(KEY),
    "a claim": lambda answered: answered.begin(KEY),
}


@pytest.fixture(autouse=True)
def small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that not much is much at once."""
    monkeypatch.setattr("chalicelib.terms.MOST_ACTIONS", 8)


@pytest.fixture
def answered(services: Services) -> Answered:
    return Answered(services.claims, services.store)


def index_of(services: Services) -> Any:
    return indexed(rows_of(services.settings.terms_table))


def row(**fields: Any) -> items.Row:
    return {**rows.image_key(KEY), **fields}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("first", ["nothing", "a picture", "much at once"])
def test_a_picture_is_found_by_what_it_is_by_now(
    first: str, change: Change, services: Services, answered: Answered
) -> None:
    CHANGES[first](answered)
    services.indexing.update(KEY)
    change(answered)

    for _ in range(2):
        services.indexing.update(KEY)

        image = answered.image(KEY)
        assert index_of(services) == expected([image])
        assert services.terms.indexed(KEY).document == document_of(KEY, image)


def test_what_changes_nothing_is_not_written(services: Services, answered: Answered) -> None:
    answered.label(KEY, DOG)
    services.indexing.update(KEY)
    sent = plan(services.dynamodb.meta.events, TRANSACT)

    services.indexing.update(KEY)

    assert sent == []


LABELLED = row(status="labelled", committed_run="r1", labels=[{"name": "Dog"}], text=None)
PLAIN = row(status="labelled", committed_run="r1", labels=[], text=[])


@pytest.mark.parametrize(
    ("before", "after", "matters"),
    [
        pytest.param(None, LABELLED, True, id="a new answer"),
        pytest.param(LABELLED, None, True, id="an answer that is gone"),
        pytest.param(LABELLED, {**LABELLED, "committed_run": "r2"}, True, id="another answer"),
        pytest.param(LABELLED, {**LABELLED, "status": "processing"}, True, id="another status"),
        pytest.param(LABELLED, {**LABELLED, "labels": []}, True, id="no label any more"),
        pytest.param(LABELLED, row(status="removed", committed_run="r2"), True, id="a removal"),
        pytest.param(row(status="processing"), {**PLAIN, "text": [{"line": "a"}]}, True, id="words alone"),
        pytest.param(LABELLED, {**LABELLED, "fence": "f"}, False, id="a mark"),
        pytest.param(LABELLED, LABELLED, False, id="no change"),
        pytest.param(None, row(status="processing"), False, id="a claim"),
        pytest.param(row(status="processing"), PLAIN, False, id="a picture of nothing"),
        pytest.param(row(status="removed"), None, False, id="the end of a tombstone"),
        pytest.param(None, {**LABELLED, "entry": "label#dog"}, False, id="a label's row"),
        pytest.param({**LABELLED, "entry": "delivery#1"}, None, False, id="the end of a callback"),
    ],
)
def test_a_change_is_looked_into_if_it_may_matter(
    before: items.Row | None, after: items.Row | None, matters: bool, services: Services, answered: Answered
) -> None:
    answered.label(KEY, DOG)

    services.indexing.index(before, after)

    assert index_of(services) == expected([answered.image(KEY)] if matters else [])


def test_what_counts_is_the_picture_and_not_what_was_told_of_it(
    services: Services, answered: Answered
) -> None:
    answered.label(KEY, DOG)
    answered.label(KEY, CAT)

    services.indexing.index(None, LABELLED)

    assert index_of(services) == expected([answered.image(KEY)])


def test_who_finds_the_index_changed_looks_again(services: Services, answered: Answered) -> None:
    other = Services(services.settings)
    answered.label(KEY, DOG)

    def overtake() -> None:
        answered.remove(KEY)
        other.indexing.update(KEY)

    plan(services.dynamodb.meta.events, TRANSACT, after(overtake))
    services.indexing.update(KEY)

    assert index_of(services) == expected([])


def test_who_writes_by_what_is_gone_by_then_looks_once_more(services: Services, answered: Answered) -> None:
    other = Services(services.settings)
    answered.label(KEY, DOG)
    services.indexing.update(KEY)
    answered.remove(KEY)
    services.indexing.update(KEY)
    answered.label(KEY, DOG)

    def find_nothing_to_do() -> None:
        answered.remove(KEY)
        other.indexing.update(KEY)

    sent = plan(services.dynamodb.meta.events, TRANSACT, after(find_nothing_to_do))
    services.indexing.update(KEY)

    assert len(sent) >= 2
    assert index_of(services) == expected([])


def test_who_is_overtaken_all_the_time_gives_up_for_now(services: Services, answered: Answered) -> None:
    answered.label(KEY, DOG)
    sent = plan(services.dynamodb.meta.events, TRANSACT, *[cancelled("ConditionalCheckFailed")] * 99)

    with pytest.raises(Contended):
        services.indexing.update(KEY)

    assert len(sent) == ROUNDS


DEATHS = [
    pytest.param(first, change, marks=[] if (first, change) in DAILY else pytest.mark.search)
    for first in ("nothing", "a picture", "much at once")
    for change in ("another answer", "much at once", "a removal")
]


@pytest.mark.thorough
@pytest.mark.parametrize(("first", "change"), DEATHS)
def test_whichever_call_it_dies_at_the_next_try_makes_it_exact(
    first: str, change: str, services: Services, answered: Answered, endpoint: Endpoint
) -> None:
    mortal = Mortal(straight_to(endpoint))
    dying = Services(services.settings)
    intercept(dying.session, mortal)

    def begin() -> None:
        answered.remove(KEY)
        services.indexing.update(KEY)
        CHANGES[first](answered)
        services.indexing.update(KEY)
        CHANGES[change](answered)

    begin()
    mortal.live()
    dying.indexing.update(KEY)
    calls = len(mortal.calls)
    for number in range(1, calls + 1):
        for when in When:
            begin()
            mortal.crash_at(number, when)
            with pytest.raises(Crash):
                dying.indexing.update(KEY)
            mortal.live()
            index_of(services)  # what there is fits together
            dying.indexing.update(KEY)

            assert index_of(services) == expected([answered.image(KEY)])

    assert calls >= 2


def test_a_counter_is_told_of_all_labels_though_somebody_died_half_way(
    services: Services, answered: Answered
) -> None:
    man, boy = (Label(name, 90, aliases=("Male",)) for name in ("Man", "Boy"))
    answered.label(KEY, man)
    services.indexing.update(KEY)
    answered.label(KEY, man, boy, *MANY)
    plan(services.dynamodb.meta.events, TRANSACT, after(lambda: None), raising(Crash()))
    with pytest.raises(Crash):
        services.indexing.update(KEY)

    services.indexing.update(KEY)

    [counter] = [row for row in rows_of(services.settings.terms_table) if row["entry"] == "male"]
    assert counter["labels"] == {"man", "boy"}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.search) for seed in range(2, 9))])
def test_whatever_fails_it_is_exact_in_the_end(
    seed: int, settings: Settings, endpoint: Endpoint, answered: Answered, services: Services
) -> None:
    faults = RandomFaults(straight_to(endpoint), seed, 0.3)
    unlucky = Services(settings)
    intercept(unlucky.session, faults)
    vars(unlucky)["terms"] = Terms(unlucky.dynamodb, settings.terms_table, lambda _: None)
    failures = 0
    with sdk_waiting_by(lambda _: None):
        for name in [*CHANGES, "another answer"]:
            CHANGES[name](answered)
            while not tried(unlucky):
                failures += 1
                index_of(services)

            assert index_of(services) == expected([answered.image(KEY)]), name

    assert faults.happened


def tried(services: Services) -> bool:
    try:
        services.indexing.update(KEY)
    except Retryable:
        return False
    return True


def test_no_transaction_names_an_item_twice(services: Services, answered: Answered) -> None:
    sent = plan(services.dynamodb.meta.events, TRANSACT)
    for name in ("a picture", "another answer", "much at once", "another answer", "a removal"):
        CHANGES[name](answered)
        services.indexing.update(KEY)

    sizes = []
    for request in sent:
        body: Any = request.body
        actions = [each for action in json.loads(body)["TransactItems"] for each in action.values()]
        keys = [each.get("Key") or each["Item"] for each in actions]
        names = {json.dumps([key.get("term", key.get("source_file")), key["entry"]]) for key in keys}
        assert len(names) == len(keys)
        sizes.append(len(keys))
    assert max(sizes) == 9
