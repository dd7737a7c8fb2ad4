from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import count
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib.deny_list import DenyList
from chalicelib.document import Asked, asked_label, asked_words, rank
from chalicelib.model import Image, Label
from chalicelib.search import MOST_EXAMINED, MOST_SECONDS, NOTHING, Hit, Place, Search, Wanted
from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud.endpoint import Endpoint
from tests.answered import Answered
from tests.direct import short_circuit
from tests.faults import operations, plan
from tests.lambda_events import changes, context
from tests.search_index import (
    expected,
    folded,
    indexed,
    matched,
    matched_word,
    rows_of,
    table_of,
)

# As Rekognition has it, each label always has the same aliases and parents; and some are awkward.
LABELS = {
    "Dog": (("Canine",), ("Animal", "Pet")),
    "Cat": (("Feline",), ("Animal", "Pet")),
    "Pet": ((), ("Animal",)),
    "Man": (("Male",), ("Person",)),
    "Boy": (("Male", "Lad"), ("Man", "Person")),
    "Person": (("Human",), ()),
    "Mobile Phone": (("Cell Phone", "Phone"), ("Electronics",)),
    "ÉLÈVE #0": (("e\u0301le\u0300ve", "#"), ("Person",)),
}
NAMES = sorted({name for own, others in LABELS.items() for name in (own, *others[0], *others[1])} | {"None"})
WORDS = ("TAXI", "taxi-stand", "Tax", "24/7", "Straße", "tram")
TEXTS = ("taxi", "Tax*", "ta*", "strasse", "24", "TRAM*", "none*", "tax 24", "stand t")
KEYS = ("a.png", "b/é #1.png", "c.png", "d.png", "e.png")


def label(name: str, confidence: float = 90) -> Label:
    aliases, parents = LABELS[name]
    return Label(name, confidence, (), parents, aliases)


def wanted(*labels: str, but_not: tuple[str, ...] = (), text: str = "", least: float = 0) -> Wanted:
    these = (*map(asked_label, labels), *asked_words(text))
    return Wanted(these, tuple(map(asked_label, but_not)), least)


@pytest.fixture
def direct(settings: Settings, endpoint: Endpoint, rekognition: object) -> Services:
    services = Services(settings)
    short_circuit(services.session, endpoint)
    return services


@pytest.fixture
def answered(direct: Services) -> Answered:
    return Answered(direct.claims, direct.store)


@pytest.fixture
def search(direct: Services) -> Search:
    return direct.search


def index(services: Services, *keys: str) -> None:
    for key in keys:
        services.indexing.update(key)


def keys_of(search: Search, wanted: Wanted, most: int = 20) -> list[str]:
    return [hit.summary.source_file for hit in pages(search, wanted, most)]


def pages(search: Search, wanted: Wanted, most: int) -> Iterator[Hit]:
    after = None
    while True:
        hits = search.find(wanted, after, most)
        assert len(hits.found) <= most
        yield from hits.found
        if hits.after is None:
            return
        after = Place.read(hits.after.text, wanted)
        assert after == hits.after


def test_a_hit_says_what_it_matched_and_why(search: Search, direct: Services, answered: Answered) -> None:
    answered.label("a.png", label("Mobile Phone", 95), label("Dog", 98.1), text="TAXI", confidence=99.1)
    index(direct, "a.png")

    [hit] = search.find(wanted("animal", "CELL PHONE", "dog", text="Tax* taxi"), None, 20).found

    image = answered.image("a.png")
    assert image is not None
    assert hit.summary == image.summary
    assert [asdict(match) for match in hit.matched] == [
        {"asked": "animal", "label": "Dog", "word": None, "because": "parent", "confidence": 98.1},
        {"asked": "CELL PHONE", "label": "Mobile Phone", "word": None, "because": "alias", "confidence": 95},
        {"asked": "dog", "label": "Dog", "word": None, "because": "name", "confidence": 98.1},
        {"asked": "tax*", "label": None, "word": "TAXI", "because": "prefix", "confidence": 99.1},
        {"asked": "taxi", "label": None, "word": "TAXI", "because": "word", "confidence": 99.1},
    ]


def test_all_must_be_there_and_none_of_those_that_must_not(
    search: Search, direct: Services, answered: Answered
) -> None:
    answered.label("a.png", label("Dog"), label("Person", 70))
    answered.label("b.png", label("Dog", 80), label("Cat"))
    answered.label("c.png", label("Cat"))
    index(direct, "a.png", "b.png", "c.png")

    assert keys_of(search, wanted("dog", "animal")) == ["a.png", "b.png"]
    assert keys_of(search, wanted("dog", but_not=("human",))) == ["b.png"]
    assert keys_of(search, wanted("dog", but_not=("human",), least=71)) == ["a.png", "b.png"]
    assert keys_of(search, wanted("dog", least=81)) == ["a.png"]
    assert keys_of(search, wanted("animal", but_not=("feline",))) == ["a.png"]
    assert keys_of(search, wanted("animal", "none")) == []


def test_search_starts_from_the_rarest(search: Search, direct: Services, answered: Answered) -> None:
    for number in range(30):
        answered.label(f"{number}.png", label("Person"), *([label("Dog")] if number == 7 else []))
        index(direct, f"{number}.png")
    sent = plan(direct.dynamodb.meta.events, "dynamodb")

    assert keys_of(search, wanted("person", "dog")) == ["7.png"]
    assert [*operations(sent)] == ["BatchGetItem", "Query", "BatchGetItem"]


def test_what_no_picture_has_is_told_at_once(search: Search, direct: Services, answered: Answered) -> None:
    answered.label("a.png", label("Dog"))
    index(direct, "a.png")
    sent = plan(direct.dynamodb.meta.events, "dynamodb")

    assert search.find(wanted("dog", "none", text="tax*"), None, 20) == NOTHING
    assert [*operations(sent)] == ["BatchGetItem"]


@pytest.mark.thorough
def test_counts_that_change_do_not_change_the_order_between_pages(
    search: Search, direct: Services, answered: Answered
) -> None:
    for number in range(6):
        answered.label(f"{number}.png", label("Person", 90 - number), label("Dog", 50 + number))
        index(direct, f"{number}.png")
    asked = wanted("dog", "person")
    first = search.find(asked, None, 3)

    for key in ("x.png", "y.png"):
        answered.label(key, label("Dog", 99))
        index(direct, key)
    rest = search.find(asked, first.after, 10)

    found = [hit.summary.source_file for hit in (*first.found, *rest.found)]
    assert sorted(found) == [f"{number}.png" for number in range(6)]


def test_who_leaves_and_comes_between_pages_does_not_disturb_the_others(
    search: Search, direct: Services, answered: Answered
) -> None:
    for number in range(6):
        answered.label(f"{number}.png", label("Dog", 90 - number))
        index(direct, f"{number}.png")
    asked = wanted("dog")
    first = search.find(asked, None, 3)

    answered.remove("2.png")  # the last of the page
    answered.label("0.png", label("Dog", 85.5))
    index(direct, "2.png", "0.png")
    rest = search.find(asked, first.after, 10)

    assert [hit.summary.source_file for hit in first.found] == ["0.png", "1.png", "2.png"]
    assert [hit.summary.source_file for hit in rest.found] == ["3.png", "4.png", "0.png", "5.png"]


def test_a_request_looks_at_so_many_pictures_and_says_where_to_go_on(
    search: Search, direct: Services, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.search.MOST_EXAMINED", 4)
    for number in range(10):
        answered.label(f"{number}.png", label("Dog", 90 - number), *([label("Man")] if number == 9 else []))
        index(direct, f"{number}.png")
    asked = wanted("dog", least=0, but_not=("none",))
    rare = Wanted((asked_label("dog"),), (asked_label("lad"),))

    short = search.find(rare, None, 20)

    assert ([hit.summary.source_file for hit in short.found], short.after is None) == (
        [f"{number}.png" for number in range(4)],
        False,
    )
    assert keys_of(search, asked, 3) == [f"{number}.png" for number in range(10)]
    assert MOST_EXAMINED == 1000


def test_a_request_ends_in_time_and_says_where_to_go_on(
    search: Search, direct: Services, answered: Answered
) -> None:
    for number in range(6):
        answered.label(f"{number}.png", label("Dog", 90 - number))
        index(direct, f"{number}.png")
    hasty = replace(search, clock=count(0, MOST_SECONDS / 2).__next__)
    asked, place = wanted("dog"), None
    keys: list[str] = []

    while len(keys) < 6:
        hits = hasty.find(asked, place, 20)
        assert len(hits.found) == 3
        keys += [hit.summary.source_file for hit in hits.found]
        place = hits.after

    assert keys == [f"{number}.png" for number in range(6)]


def test_a_page_that_is_not_the_last_may_be_empty(
    search: Search, direct: Services, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.search.MOST_EXAMINED", 2)
    for number in range(5):
        answered.label(f"{number}.png", label("Dog", 90 - number), *([label("Man")] if number < 4 else []))
        index(direct, f"{number}.png")
    asked = wanted("dog", but_not=("man",))

    empty = search.find(asked, None, 20)

    assert (empty.found, empty.after is None) == ((), False)
    assert keys_of(search, asked) == ["4.png"]


def test_a_picture_with_several_such_words_is_found_once(
    search: Search, direct: Services, answered: Answered
) -> None:
    answered.label("a.png", text="taxi tax taxis TAXI")
    index(direct, "a.png")

    for most in (1, 2, 20):
        assert keys_of(search, wanted(text="ta*"), most) == ["a.png"]


def test_postings_of_before_find_nothing(search: Search, direct: Services, answered: Answered) -> None:
    """As a reader sees it who reads the postings before a write and the document after it."""
    answered.label("a.png", label("Dog", 90))
    index(direct, "a.png")
    before = rows_of(direct.settings.terms_table)
    answered.label("a.png", label("Dog", 80))
    index(direct, "a.png")
    for row in before:
        if row["term"].startswith("label#"):
            key = {name: {"S": row[name]} for name in ("term", "entry", "source_file")}
            direct.dynamodb.put_item(TableName=direct.settings.terms_table, Item=key)

    hits = [*pages(search, wanted("dog"), 5)]

    assert [hit.matched[0].confidence for hit in hits] == [80]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0#",
        "1#000000#",
        "0#zzz",
        "x#000100#a",
        "00#000100#a",
        "0#100001#a",
        "0#\ud800",
        f"0#0{5000 * 'x'}",
    ],
    ids=ascii,
)
def test_a_place_that_no_search_comes_to_is_none(text: str) -> None:
    assert Place.read(text, wanted("dog")) is None


AT_90 = f"{rank(90)}#{32 * '0'}"  # the entry of a posting


def test_a_place_is_among_the_postings_of_what_is_asked_for() -> None:
    assert Place.read(f"0#{AT_90}", wanted("dog", least=90)) == Place(0, AT_90)
    assert Place.read(f"1#{AT_90}", wanted("dog", "cat")) == Place(1, AT_90)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"1#{AT_90}", id="of more things than are asked for"),
        pytest.param(f"00#{AT_90}", id="a number in another form"),
        pytest.param(f"0#{rank(89.9)}#{32 * '0'}", id="of what is not sure enough"),
        pytest.param(f"0#taxi#{AT_90}", id="of a word, where a label is asked for"),
    ],
)
def test_no_cursor_leads_to_where_dynamodb_would_not_begin(text: str) -> None:
    assert Place.read(text, wanted("dog", least=90)) is None


# The deny list


@pytest.fixture
def discreet(search: Search) -> Search:
    return Search(search.terms, DenyList(("MAN", "élève #0")))


def test_what_is_hidden_is_neither_found_nor_told_of_nor_excluded_by(
    discreet: Search, direct: Services, answered: Answered
) -> None:
    answered.label("man.png", label("Man", 99), label("Dog", 60))
    answered.label("boy.png", label("Boy", 95))
    answered.label("both.png", label("Man", 98), label("Person", 80))
    index(direct, "man.png", "boy.png", "both.png")

    assert keys_of(discreet, wanted("man")) == []
    assert keys_of(discreet, wanted("male")) == ["boy.png"]
    assert keys_of(discreet, wanted("person")) == ["both.png", "boy.png"]
    assert keys_of(discreet, wanted("person", least=90)) == ["boy.png"]
    assert keys_of(discreet, wanted("dog", but_not=("man",))) == ["man.png"]
    assert keys_of(discreet, wanted("dog", but_not=("male",))) == ["man.png"]
    [hit] = discreet.find(wanted("dog"), None, 20).found
    assert [top.name for top in hit.summary.top_labels] == ["Dog"]
    told = [match.label for hit in pages(discreet, wanted("person"), 20) for match in hit.matched]
    assert told == ["Person", "Boy"]


def test_the_catalogue_does_not_tell_what_is_hidden(
    discreet: Search, search: Search, direct: Services, answered: Answered
) -> None:
    answered.label("a.png", label("Man"), label("ÉLÈVE #0"))
    index(direct, "a.png")

    names = [name.key for name in search.names("", "", 20)]
    assert names == ["#", "male", "man", "person", "élève", "élève #0"]
    assert [name.key for name in discreet.names("", "", 20)] == ["person"]

    answered.label("b.png", label("Boy"))
    index(direct, "b.png")
    assert [name.key for name in discreet.names("", "", 20)] == ["boy", "lad", "male", "person"]


# Against the simplest search that there is

confidences = st.sampled_from([50.0, 80.0, 80.0005, 90.0, 99.5])
answers = st.builds(
    lambda seen, text, sure: (tuple(label(name, each) for name, each in seen.items()), text, sure),
    st.dictionaries(st.sampled_from([*LABELS]), confidences, max_size=4),
    st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join),
    confidences,
)
acts = st.one_of(
    st.tuples(st.just("label"), st.sampled_from(KEYS), answers),
    st.tuples(st.sampled_from(["remove", "quarantine", "fail", "begin"]), st.sampled_from(KEYS)),
    st.tuples(st.just("drain"), st.booleans()),
    st.tuples(st.just("replay"), st.integers(0, 50)),
)
questions = st.tuples(
    st.lists(st.sampled_from(NAMES), max_size=3),
    st.lists(st.sampled_from(NAMES), max_size=2),
    st.one_of(st.just(""), st.sampled_from(TEXTS)),
    st.sampled_from([0.0, 80.0, 80.0005, 95.0]),
    st.lists(st.sampled_from(["Man", "dog", "PERSON", "Male", "élève #0", "Boy"]), max_size=3),
    st.integers(1, 4),
)


def examples(exhaustive: bool) -> settings:
    return settings(
        max_examples=150 if exhaustive else 15,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.mark.thorough
def test_search_and_catalogue_say_what_the_pictures_say(
    direct: Services,
    answered: Answered,
    app_module: ModuleType,
    exhaustive: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_module, "services", direct)
    monkeypatch.setattr("chalicelib.terms.MOST_ACTIONS", 10)
    stream = Stream(app_module, direct)

    @examples(exhaustive)
    @given(st.lists(acts, max_size=12), st.lists(questions, min_size=1, max_size=4))
    @example(
        [("label", "a.png", ((label("Boy"),), "", 50.0)), ("replay", 0)], [(["man"], [], "", 0.0, [], 1)]
    )
    def holds(acts: list[Any], questions: list[Any]) -> None:
        stream.empty()
        for name, *arguments in acts:
            if name in ("drain", "replay"):
                getattr(stream, name)(*arguments)
            else:
                act(answered, name, *arguments)
        stream.drain(True)
        images = [image for key in KEYS if (image := answered.image(key))]
        assert indexed(rows_of(direct.settings.terms_table)) == expected(images)
        for question in questions:
            assert_answered(direct, images, *question)

    holds()


class Stream:
    """What the images table tells its function, as it comes and again."""

    def __init__(self, app_module: ModuleType, services: Services) -> None:
        self.app_module = app_module
        self.settings = services.settings
        self.done = 0

    def empty(self) -> None:
        for table in (self.settings.images_table, self.settings.terms_table):
            table_of(table).items.clear()
        table_of(self.settings.images_table).stream_shard.items.clear()
        self.done = 0

    def drain(self, is_doubled: bool) -> None:
        records = self._records()
        news = records[self.done :]
        self._hand_over([record for record in news for _ in range(1 + is_doubled)])
        self.done = len(records)

    def replay(self, start: int) -> None:
        """From anywhere before, as far as it was told."""
        self._hand_over(self._records()[: self.done][start % (self.done or 1) :])

    def _records(self) -> list[Any]:
        records: list[Any] = changes(self.settings.images_stream_arn)["Records"]
        return records

    def _hand_over(self, records: list[Any]) -> None:
        answer = self.app_module.index_image({"Records": records}, context())
        assert answer == {"batchItemFailures": []}


def act(answered: Answered, name: str, key: str, answer: Any = None) -> None:
    if name == "label":
        labels, text, confidence = answer
        answered.label(key, *labels, text=text, confidence=confidence)
    else:
        getattr(answered, name)(key)


def assert_answered(
    services: Services,
    images: list[Image],
    labels: list[str],
    but_not: list[str],
    text: str,
    least: float,
    hidden: list[str],
    most: int,
) -> None:
    search = Search(services.terms, DenyList(tuple(hidden)))
    asked = wanted(*labels, but_not=tuple(but_not), text=text, least=least)
    if asked.these:
        hits = [*pages(search, asked, most)]
        found = {hit.summary.source_file: [asdict(match) for match in hit.matched] for hit in hits}
        assert len(found) == len(hits)
        assert found == brute_force(images, asked, {folded(name) for name in hidden})
    names = {name.key: name.count for name in search.names("", "", most)}
    assert names == catalogue(services, images, {folded(name) for name in hidden})


def brute_force(images: list[Image], asked: Wanted, hidden: set[str]) -> dict[str, list[Any]]:
    least, found = asked.min_confidence, {}

    def how(image: Image, each: Asked) -> Any:
        if each.term.kind == "word":
            return matched_word(image, each.text, least)
        return matched(image, each.text, least, hidden)

    for image in images:
        if image.status in ("quarantined", "failed"):
            continue
        matches = [how(image, each) for each in asked.these]
        if all(matches) and not any(how(image, each) for each in asked.but_not):
            found[image.source_file] = matches
    return found


def catalogue(services: Services, images: list[Image], hidden: set[str]) -> dict[str, int]:
    """A name is told if anything that is not hidden was ever called so, as one picture or another had it."""
    rows = rows_of(services.settings.terms_table)
    told = {row["entry"] for row in rows if row["term"].startswith("labels#")}
    seen = {folded(name) for name in told}
    counts = expected(images).counts
    return {
        name: count
        for (kind, name), count in counts.items()
        if kind == "label" and name in seen and name not in hidden and called_so(rows, name) - hidden
    }


def called_so(rows: list[Any], name: str) -> set[str]:
    """The labels of which this was told to be a name; of a parent's, which all have in common, itself."""
    mine = [row for row in rows if row["term"].startswith("labels#") and row["entry"] == name]
    labels = {key for row in mine for key in row.get("labels", ())}
    return labels | ({f"parent {name}"} if any(row.get("is_parent") for row in mine) else set())
