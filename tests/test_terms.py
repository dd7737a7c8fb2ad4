import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import repeat
from math import inf
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.document import (
    MAX_WORD,
    Asked,
    Document,
    Kind,
    Reading,
    Term,
    asked_label,
    asked_words,
    document_of,
    rank,
)
from chalicelib.dynamodb import PAUSES
from chalicelib.errors import AccessLost, Contended, Retryable, ServiceFailed, Throttled
from chalicelib.items import marshal
from chalicelib.model import Box, Image, Label, Line, Status, Word
from chalicelib.settings import Settings
from chalicelib.terms import MOST_ACTIONS, SHARDS, Catalogued, Indexed, Posting, Terms, first_entry, span_of
from tests import faults
from tests.search_index import digest, expected, indexed, rows_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = "a/é #1.png"
BOX = Box(0.1, 0.2, 0.5, 0.4)
DOG = Label("Dog", 98.1, (), ("Animal", "Pet"), ("Canine",))
CAT = Label("Cat", 88.0, (), ("Animal", "Pet"))
TAXI = Line("TAXI", 99.1, BOX, (Word("TAXI", 99.1, BOX),))
IMAGE = Image(KEY, Status.LABELLED, labelled_at="2026-01-02T03:04:05Z", labels=(DOG,), text=(TAXI,))
TRANSACT, BATCH = "dynamodb.TransactWriteItems", "dynamodb.BatchGetItem"
READ_TIMEOUT = ReadTimeoutError(endpoint_url="http://127.0.0.1")
MANY = tuple(Label(f"Label {number}", 90, (), (f"Parent {number}",)) for number in range(45))
LONGEST = "🐶" * 2000


@dataclass
class Bench:
    terms: Terms
    table: str
    pauses: list[float] = field(default_factory=list)

    def index(self, *images: Image) -> None:
        for image in images:
            key = image.source_file
            assert self.terms.write(self.terms.indexed(key), document_of(key, image), NOW)

    def forget(self, key: str = KEY) -> None:
        assert self.terms.write(self.terms.indexed(key), Document(key), NOW)

    def rows(self) -> list[dict[str, Any]]:
        return rows_of(self.table)

    def plan(self, operation: str, *steps: faults.Step) -> list[Any]:
        return faults.plan(self.terms._client.meta.events, operation, *steps)

    def names(self, prefix: str = "", after: str = "", page_size: int = 10) -> list[tuple[str, int]]:
        return [(each.name, each.count) for each in self.terms.names(prefix, after, page_size)]

    def found(self, asked: Asked, least: float = 0, after: str = "", size: int = 10) -> list[str]:
        pages = self.terms.postings(asked, least, after, repeat(size))
        return [posting.source_file for page in pages for posting in page]


@pytest.fixture
def bench(settings: Settings) -> Bench:
    client = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    pauses: list[float] = []
    return Bench(Terms(client, settings.terms_table, pauses.append), settings.terms_table, pauses)


def image(key: str, *labels: Label, text: str = "", confidence: float = 90) -> Image:
    words = tuple(Word(each, confidence, BOX) for each in text.split())
    return Image(key, Status.LABELLED, labels=labels, text=(Line(text, confidence, BOX, words),))


def word(text: str) -> Asked:
    [asked] = asked_words(text)
    return asked


def actions(request: Any) -> list[Any]:
    actions: list[Any] = json.loads(request.body)["TransactItems"]
    return actions


def test_of_what_was_never_indexed_nothing_is_known(bench: Bench) -> None:
    assert bench.terms.indexed(KEY) == Indexed(Document(KEY))


def test_what_is_known_is_what_stands_there_now(bench: Bench) -> None:
    sent = bench.plan("dynamodb.GetItem")

    bench.terms.indexed(KEY)

    assert [json.loads(request.body)["ConsistentRead"] for request in sent] == [True]


def test_a_picture_is_a_document_its_postings_and_counters(bench: Bench) -> None:
    bench.index(IMAGE)

    by_key = {(row.pop("term"), row.pop("entry")): row for row in bench.rows()}
    version = by_key["image#" + digest(KEY), "document"].pop("version")
    shard = int(digest(KEY), 16) % SHARDS
    names = {("Dog", "dog"), ("Canine", "canine")}
    assert len(version) == 16
    assert by_key == {
        ("image#" + digest(KEY), "document"): {
            "source_file": KEY,
            "status": "labelled",
            "labelled_at": "2026-01-02T03:04:05Z",
            "labels": [
                {
                    "name": "Dog",
                    "confidence": by_key["image#" + digest(KEY), "document"]["labels"][0]["confidence"],
                    "parents": ["Animal", "Pet"],
                    "aliases": ["Canine"],
                }
            ],
            "words": [
                {
                    "word": "TAXI",
                    "confidence": by_key["image#" + digest(KEY), "document"]["words"][0]["confidence"],
                }
            ],
            "postings": [
                "label#animal#001900",
                "label#canine#001900",
                "label#dog#001900",
                "label#pet#001900",
                "word#taxi#000900",
            ],
            "schema": 1,
        },
        **{
            (f"label#{name}#0", f"001900#{digest(KEY)}"): {"source_file": KEY}
            for name in ("animal", "canine", "dog", "pet")
        },
        ("word#ta#0", f"taxi#000900#{digest(KEY)}"): {"source_file": KEY},
        **{(f"labels#{shard}", key): {"name": name, "count": 1, "labels": {"dog"}} for name, key in names},
        **{
            (f"labels#{shard}", name.lower()): {"name": name, "count": 1, "is_parent": True}
            for name in ("Animal", "Pet")
        },
        (f"words#{shard}", "taxi"): {"count": 1},
    }


def test_what_is_read_is_what_was_written(bench: Bench) -> None:
    document = document_of(KEY, IMAGE)

    bench.index(IMAGE)

    there = bench.terms.indexed(KEY)
    assert (there.document, there.ranks) == (document, document.ranks)
    assert bench.terms.documents([KEY, "other.png"]) == {KEY: document}


def test_what_is_as_it_should_be_is_not_written_again(bench: Bench) -> None:
    bench.index(IMAGE)
    sent = bench.plan(TRANSACT)

    bench.index(IMAGE)

    assert sent == []


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(replace(IMAGE, labels=(CAT,)), id="other labels"),
        pytest.param(replace(IMAGE, labels=(replace(DOG, confidence=50.5),)), id="another confidence"),
        pytest.param(replace(IMAGE, labels=(CAT, DOG)), id="a label more"),
        pytest.param(replace(IMAGE, text=None), id="no words"),
        pytest.param(replace(IMAGE, status=Status.PROCESSING), id="another status"),
        pytest.param(replace(IMAGE, status=Status.QUARANTINED), id="out of sight"),
        pytest.param(replace(IMAGE, labels=MANY), id="more than fits a transaction"),
    ],
)
def test_a_picture_that_changes_is_found_by_what_it_is_and_by_nothing_else(
    after: Image, bench: Bench
) -> None:
    bench.index(IMAGE)
    bench.index(after)

    assert indexed(bench.rows()) == expected([after])
    assert bench.terms.indexed(KEY).document == document_of(KEY, after)
    bench.index(IMAGE)
    assert indexed(bench.rows()) == expected([IMAGE])


def test_another_confidence_changes_no_counter(bench: Bench) -> None:
    bench.index(IMAGE)
    sent = bench.plan(TRANSACT)

    bench.index(replace(IMAGE, labels=(replace(DOG, confidence=50.5),)))

    [request] = sent
    assert [kind for action in actions(request) for kind in action] == ["Put", *4 * ["Put", "Delete"]]


def test_a_large_change_takes_several_transactions_none_of_which_is_too_large(bench: Bench) -> None:
    bench.index(replace(IMAGE, labels=MANY))
    sent = bench.plan(TRANSACT)

    bench.index(IMAGE)

    sizes = [len(actions(request)) for request in sent]
    assert sizes == [99, 91]
    assert max(sizes) <= 1 + MOST_ACTIONS


def test_an_unseen_picture_leaves_a_tombstone_for_a_day(bench: Bench) -> None:
    bench.index(IMAGE)

    bench.forget()
    bench.forget("never.png")

    end = int((NOW + timedelta(days=1)).timestamp())
    left = {row["source_file"]: row["expires_at"] for row in bench.rows() if row["entry"] == "document"}
    assert left == {KEY: end, "never.png": end}
    assert indexed(bench.rows()) == expected([])


def test_a_tombstone_becomes_a_picture_that_stays(bench: Bench) -> None:
    bench.forget()

    bench.index(IMAGE)

    assert [row for row in bench.rows() if "expires_at" in row] == []


@pytest.mark.parametrize("then", [IMAGE, None], ids=["indexed", "gone"])
def test_who_has_read_an_older_state_does_not_write(then: Image | None, bench: Bench) -> None:
    before = bench.terms.indexed(KEY)
    assert bench.terms.write(before, document_of(KEY, then), NOW)

    written = bench.terms.write(before, document_of(KEY, replace(IMAGE, labels=(CAT,))), NOW)

    assert written is False
    assert indexed(bench.rows()) == expected([then])


def test_a_write_whose_answer_is_lost_is_recognised_as_ours(bench: Bench) -> None:
    def forget_the_token(request: Any) -> Any:
        """The SDK's token is good for ten minutes only."""
        body = json.loads(request.body)
        del body["ClientRequestToken"]
        request.body = json.dumps(body).encode()
        request.headers["Content-Length"] = str(len(request.body))
        return None

    def lose(request: Any) -> Any:
        forget_the_token(request)
        return faults.lose_answer(request)

    client = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2}))
    patient = Bench(Terms(client, bench.table), bench.table)
    sent = patient.plan(TRANSACT, lose, forget_the_token)

    patient.index(IMAGE)

    assert len(sent) == 2
    assert indexed(bench.rows()) == expected([IMAGE])


PASSING = [
    pytest.param(faults.cancelled("TransactionConflict", "None"), Contended, id="conflict"),
    pytest.param(faults.cancelled("None", "ThrottlingError"), Throttled, id="throttling"),
    pytest.param(faults.json_error(400, "TransactionInProgressException"), Contended, id="in progress"),
]


@pytest.mark.parametrize(("fault", "failure"), PASSING)
def test_a_passing_failure_is_sat_out_and_then_raised(
    bench: Bench, fault: faults.Step, failure: type[Retryable]
) -> None:
    bench.plan(TRANSACT, *[fault] * len(PAUSES))
    bench.index(IMAGE)
    assert len(bench.pauses) == len(PAUSES)

    bench.plan(TRANSACT, *[fault] * 99)
    with pytest.raises(Retryable) as raised:
        bench.forget()

    assert type(raised.value) is failure
    assert indexed(bench.rows()) == expected([IMAGE])


CALLS: dict[str, Callable[[Bench], object]] = {
    "dynamodb.GetItem": lambda bench: bench.terms.indexed(KEY),
    "dynamodb.BatchGetItem": lambda bench: bench.terms.documents([KEY]),
    "dynamodb.Query": lambda bench: bench.found(asked_label("dog")),
    "dynamodb.TransactWriteItems": lambda bench: bench.index(IMAGE),
}


@pytest.mark.parametrize(("operation", "call"), CALLS.items(), ids=CALLS)
@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (faults.raising(READ_TIMEOUT), ServiceFailed),
        (faults.json_error(500, "InternalServerError"), ServiceFailed),
        (faults.json_error(400, "AccessDeniedException"), AccessLost),
        (faults.json_error(400, "ResourceNotFoundException"), AccessLost),
    ],
    ids=["time-out", "failure", "no right", "no table"],
)
def test_an_outage_is_told_in_our_words(
    operation: str,
    call: Callable[[Bench], object],
    fault: faults.Step,
    failure: type[Retryable],
    bench: Bench,
) -> None:
    bench.plan(operation, *[fault] * 9)

    with pytest.raises(failure):
        call(bench)


def test_a_transaction_that_can_never_pass_is_a_bug(bench: Bench) -> None:
    bench.plan(TRANSACT, faults.cancelled("None", "ValidationError"))

    with pytest.raises(ClientError, match="TransactionCanceledException"):
        bench.index(IMAGE)


# Counting


def test_counters_are_shared_out_and_summed(bench: Bench) -> None:
    bench.index(*(image(f"{number}.png", DOG, text="taxi") for number in range(40)))

    counters = [row for row in bench.rows() if row["entry"] == "dog" and row["term"].startswith("labels#")]
    dog, none, taxi = Term(Kind.LABEL, "dog"), Term(Kind.LABEL, "none"), Term(Kind.WORD, "taxi")
    assert len(counters) == SHARDS
    assert bench.terms.counts([dog, none, taxi]) == {dog: 40, none: 0, taxi: 40}
    assert bench.terms.counts([]) == {}


def test_many_terms_are_counted_in_batches(bench: Bench) -> None:
    bench.index(image(KEY, *MANY))
    sent = bench.plan(BATCH)
    terms = [Term(Kind.LABEL, f"label {number}") for number in range(20)]

    assert bench.terms.counts(terms) == dict.fromkeys(terms, 1)
    assert len(sent) == 2


def test_words_are_counted_by_how_they_begin(bench: Bench) -> None:
    bench.index(*(image(f"{number}.png", text="taxi taxis tram") for number in range(5)))

    assert bench.terms.count_beginning(Term(Kind.WORD, "tax")) == 10
    assert bench.terms.count_beginning(Term(Kind.WORD, "tz")) == 0


def test_more_words_than_a_page_holds_are_very_many(bench: Bench) -> None:
    for part in range(5):
        words = " ".join(f"zz{part}w{number}" for number in range(199))
        bench.index(image("one.png" if part == 0 else f"{part}.png", text=words))

    assert bench.terms.count_beginning(Term(Kind.WORD, "zz")) == inf


# Postings


def test_the_surest_come_first_and_what_is_not_sure_enough_does_not(bench: Bench) -> None:
    sure = {"a.png": 90.0, "b.png": 99.5, "c.png": 50.25, "d.png": 100.0}
    bench.index(*(image(key, replace(DOG, confidence=each)) for key, each in sure.items()))

    assert bench.found(asked_label("DOG"), size=2) == ["d.png", "b.png", "a.png", "c.png"]
    assert bench.found(asked_label("canine"), 90) == ["d.png", "b.png", "a.png"]
    assert bench.found(asked_label("dog"), 50.26) == ["d.png", "b.png", "a.png"]
    assert bench.found(asked_label("dog"), 50.25) == ["d.png", "b.png", "a.png", "c.png"]


def test_a_page_begins_behind_any_entry(bench: Bench) -> None:
    bench.index(*(image(f"{number}.png", replace(DOG, confidence=90 - number)) for number in range(5)))
    dog = asked_label("dog")
    [page, *_] = bench.terms.postings(dog, 0, "", [2])

    rest = bench.found(dog, after=page[-1].entry)
    bench.forget("1.png")

    assert [posting.source_file for posting in page] == ["0.png", "1.png"]
    assert rest == bench.found(dog, after=page[-1].entry) == ["2.png", "3.png", "4.png"]


def test_words_stand_in_order_and_a_whole_word_is_no_prefix(bench: Bench) -> None:
    bench.index(image("a.png", text="taxi"), image("b.png", text="taxis"), image("c.png", text="tax"))
    bench.index(image("d.png", text="tay"), image("e.png", text="TAXI", confidence=95))

    assert bench.found(word("tax*")) == ["c.png", "e.png", "a.png", "b.png"]
    assert bench.found(word("taxi")) == ["e.png", "a.png"]
    assert bench.found(word("taxi"), 95) == ["e.png"]
    assert bench.found(word("taxis")) == ["b.png"]


@pytest.mark.parametrize("asked", [asked_label("dog"), word("taxi"), word("ta*")])
@pytest.mark.parametrize("least", [0, 98.1, 99.0])
def test_a_pictures_first_entry_is_in_the_span_if_it_is_sure_enough(asked: Asked, least: float) -> None:
    document = document_of(KEY, IMAGE)
    entry = first_entry(document, asked)

    assert entry is not None
    assert span_of(asked, least).holds(entry) == (asked.is_prefix or document.match(asked, least) is not None)
    assert first_entry(document, asked_label("cat")) is None


def test_of_several_words_that_begin_so_the_first_stands_for_the_picture() -> None:
    document = document_of(KEY, image(KEY, text="tax taxi tab"))

    assert first_entry(document, word("tax*")) == f"tax#{rank(90)}#{digest(KEY)}"


# Hostile names


@pytest.mark.parametrize("name", ["#", "a#0", "##", "a\nb", "\0", " ", LONGEST, "ﬃ" * 700, "İ", "'; DROP"])
def test_any_name_is_a_label_to_be_found(name: str, bench: Bench) -> None:
    bench.index(image(KEY, Label(name, 90, (), (f"{name}s",), (f"{name}#0",))), image("b.png", DOG))

    assert bench.found(asked_label(name)) == [KEY]
    assert (name, 1) in bench.names()
    assert (
        bench.terms.indexed(KEY).ranks
        == document_of(KEY, image(KEY, Label(name, 90, (), (f"{name}s",), (f"{name}#0",)))).ranks
    )
    bench.forget()
    assert indexed(bench.rows()) == expected([image("b.png", DOG)])


def test_the_longest_word_is_found_by_its_beginning(bench: Bench) -> None:
    bench.index(image(KEY, text="é" * 1000))

    assert bench.found(word("É" * 500)) == bench.found(word("é" * MAX_WORD + "*")) == [KEY]


def test_an_object_with_the_longest_key_is_found(bench: Bench) -> None:
    key = "é" * 512
    bench.index(image(key, DOG, text="taxi"))

    assert bench.found(asked_label("dog")) == bench.found(word("taxi")) == [key]


# Documents


def test_documents_that_dynamodb_had_no_time_for_are_asked_for_again(bench: Bench) -> None:
    keys = [f"{number}.png" for number in range(3)]
    bench.index(*(image(key, DOG) for key in keys))

    def answer_one(request: Any) -> Any:
        asked = json.loads(request.body)["RequestItems"][bench.table]
        first, *others = asked["Keys"]
        key = {name: value["S"] for name, value in first.items()}
        rows = [row for row in bench.rows() if key.items() <= row.items()]
        body = {
            "Responses": {bench.table: [marshal(row) for row in rows]},
            "UnprocessedKeys": {bench.table: {**asked, "Keys": others}},
        }
        return faults.answering(200, json.dumps(body).encode())(request)

    sent = bench.plan(BATCH, answer_one, answer_one)

    assert set(bench.terms.documents(keys)) == {*keys}
    assert len(sent) == 3


def test_a_batch_of_which_nothing_is_read_is_throttling(bench: Bench) -> None:
    def answer_none(request: Any) -> Any:
        asked = json.loads(request.body)["RequestItems"]
        return faults.answering(200, json.dumps({"Responses": {}, "UnprocessedKeys": asked}).encode())(
            request
        )

    bench.plan(BATCH, answer_none)

    with pytest.raises(Throttled):
        bench.terms.documents([KEY])


# The catalogue


def test_the_catalogue_has_names_aliases_and_parents_in_order_with_their_counts(bench: Bench) -> None:
    bench.index(image("a.png", DOG, text="zebra"), image("b.png", DOG, CAT), image("c.png", CAT))

    assert bench.names() == [("Animal", 3), ("Canine", 2), ("Cat", 2), ("Dog", 2), ("Pet", 3)]
    assert bench.names("c") == bench.names("C", page_size=1) == [("Canine", 2), ("Cat", 2)]
    assert bench.names("cat") == [("Cat", 2)]
    assert bench.names("cats") == []
    assert bench.names(after="cat") == [("Dog", 2), ("Pet", 3)]
    assert bench.names("c", after="canine") == [("Cat", 2)]


def test_the_catalogue_forgets_what_no_picture_has(bench: Bench) -> None:
    bench.index(image("a.png", DOG), image("b.png", CAT))

    bench.forget("a.png")

    assert bench.names() == [("Animal", 1), ("Cat", 1), ("Pet", 1)]


def test_the_catalogue_knows_of_which_labels_something_is_the_name(bench: Bench) -> None:
    bench.index(
        image("a.png", Label("Man", 90, (), (), ("Male",)), Label("Boy", 80, (), ("Man",), ("Male",)))
    )

    assert [*bench.terms.names("m", "", 10)] == [
        Catalogued("male", "Male", 1, frozenset({"man", "boy"})),
        Catalogued("man", "Man", 1, frozenset({"man"}), is_parent=True),
    ]


def test_the_catalogue_learns_of_another_label_with_a_known_name(bench: Bench) -> None:
    bench.index(image(KEY, Label("Man", 90, (), (), ("Male",))))

    bench.index(image(KEY, Label("Boy", 90, (), ("Person",), ("Male",))))

    assert [*bench.terms.names("male", "", 10)] == [Catalogued("male", "Male", 1, frozenset({"man", "boy"}))]
    assert indexed(bench.rows()) == expected([image(KEY, Label("Boy", 90, (), ("Person",), ("Male",)))])


def test_a_posting_is_told_with_its_picture(bench: Bench) -> None:
    bench.index(IMAGE)

    [[posting]] = bench.terms.postings(asked_label("dog"), 0, "", [5])

    assert posting == Posting(f"001900#{digest(KEY)}", KEY)


def test_a_reading_is_kept_as_it_was_read(bench: Bench) -> None:
    bench.index(image(KEY, text="TAXI"))

    assert bench.terms.indexed(KEY).document.words == (Reading("TAXI", 90),)
