import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.document import (
    MAX_WORD,
    MOST_NAMES,
    MOST_WORDS,
    UNSEEN,
    Asked,
    Because,
    Document,
    Kind,
    Match,
    Reading,
    Term,
    asked_label,
    asked_words,
    document_of,
    rank,
    words_of,
)
from chalicelib.model import Box, Image, Instance, Label, Line, Status, TopLabel, Word

BOX = Box(0.1, 0.2, 0.5, 0.4)
DOG = Label("Dog", 98.1, ("Animals",), ("Animal", "Pet"), ("Canine",), (Instance(97.2, BOX),))
PUG = Label("Pug", 91.5, (), ("Dog", "Animal"), ("Mops",))
SIGN = Line("TAXI 24/7", 95.0, BOX, (Word("TAXI", 99.1, BOX), Word("24/7", 90.0, BOX)))
IMAGE = Image(
    "a/é #1.png",
    Status.LABELLED,
    None,
    "image/png",
    labelled_at="2026-01-02T03:04:05Z",
    labels=(DOG, PUG),
    text=(SIGN,),
)
DOCUMENT = document_of(IMAGE.source_file, IMAGE)
confidences = st.floats(0, 100)


def label(name: str) -> Term:
    return Term(Kind.LABEL, name)


def word(name: str) -> Term:
    return Term(Kind.WORD, name)


def the_only(text: str) -> Asked:
    [asked] = asked_words(text)
    return asked


def showing(*words: str) -> Image:
    text = Line("", 90.0, BOX, tuple(Word(each, 90.0, BOX) for each in words))
    return Image("a.png", Status.LABELLED, text=(text,))


def test_a_document_is_what_is_found_and_shown_of_an_image() -> None:
    assert (
        Document(
            "a/é #1.png",
            Status.LABELLED,
            None,
            "2026-01-02T03:04:05Z",
            (
                Label("Dog", 98.1, parents=("Animal", "Pet"), aliases=("Canine",)),
                Label("Pug", 91.5, parents=("Dog", "Animal"), aliases=("Mops",)),
            ),
            (Reading("TAXI", 99.1), Reading("24/7", 90.0)),
        )
        == DOCUMENT
    )
    assert DOCUMENT.summary == IMAGE.summary
    assert DOCUMENT.summary.top_labels == (TopLabel("Dog", 98.1), TopLabel("Pug", 91.5))


def test_each_name_and_each_word_is_a_term_that_ranks_by_the_surest_reason() -> None:
    assert DOCUMENT.ranks == {
        label("dog"): rank(98.1),
        label("canine"): rank(98.1),
        label("animal"): rank(98.1),
        label("pet"): rank(98.1),
        label("pug"): rank(91.5),
        label("mops"): rank(91.5),
        word("taxi"): rank(99.1),
        word("24"): rank(90.0),
        word("7"): rank(90.0),
    }


@pytest.mark.parametrize("status", UNSEEN)
def test_nothing_is_found_of_a_picture_that_nobody_sees(status: Status) -> None:
    assert document_of("a/é #1.png", replace(IMAGE, status=status)) == Document("a/é #1.png")


@pytest.mark.parametrize("image", [None, Image("a.png", Status.LABELLED), Image("a.png", Status.PROCESSING)])
def test_nothing_is_found_where_there_is_nothing(image: Image | None) -> None:
    document = document_of("a.png", image)

    assert (document, document.ranks) == (Document("a.png"), {})


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.QUEUED, Status.DEFERRED])
def test_an_old_answer_is_found_until_there_is_a_new_one(status: Status) -> None:
    document = document_of(IMAGE.source_file, replace(IMAGE, status=status))

    assert (document.status, document.ranks) == (status, DOCUMENT.ranks)


@pytest.mark.parametrize(
    ("asked", "because", "name", "confidence"),
    [
        ("Dog", Because.NAME, "Dog", 98.1),
        ("dOG", Because.NAME, "Dog", 98.1),
        ("mops", Because.ALIAS, "Pug", 91.5),
        ("ANIMAL", Because.PARENT, "Dog", 98.1),
    ],
)
def test_a_label_is_found_by_its_name_an_alias_or_a_parent(
    asked: str, because: Because, name: str, confidence: float
) -> None:
    assert DOCUMENT.match(asked_label(asked), 0) == Match(asked, name, None, because, confidence)


def test_the_better_reason_is_told_before_the_surer_one_unless_it_is_not_sure_enough() -> None:
    surer = replace(IMAGE, labels=(replace(DOG, confidence=60.0), PUG))
    document = document_of("a.png", surer)

    assert document.match(asked_label("dog"), 60.0) == Match("dog", "Dog", None, Because.NAME, 60.0)
    assert document.match(asked_label("dog"), 60.1) == Match("dog", "Pug", None, Because.PARENT, 91.5)
    assert document.match(asked_label("dog"), 91.6) is None


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("taxi", Match("taxi", None, "TAXI", Because.WORD, 99.1)),
        ("Tax*", Match("tax*", None, "TAXI", Because.PREFIX, 99.1)),
        ("taxi*", Match("taxi*", None, "TAXI", Because.PREFIX, 99.1)),
        ("24", Match("24", None, "24/7", Because.WORD, 90.0)),
        ("tax", None),
        ("axi*", None),
        ("dog", None),
    ],
)
def test_a_word_is_found_as_a_whole_or_by_what_it_begins_with(asked: str, match: Match | None) -> None:
    assert DOCUMENT.match(the_only(asked), 0) == match


def test_a_word_is_no_label() -> None:
    assert DOCUMENT.match(asked_label("taxi"), 0) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TAXI", ["taxi"]),
        ("\uff34\uff21\uff38\uff29 ①", ["taxi", "1"]),
        ("Straße", ["strasse"]),
        ("no-parking_zone", ["no", "parking", "zone"]),
        ("e\u0301te\u0301 ÉTÉ", ["été", "été"]),
        ("हिन्दी", ["हिन्दी"]),
        ("東京 タクシー", ["東京", "タクシー"]),
        ("$5.00", ["5", "00"]),
        ("❤️ \u200d !!! _ -", []),
        ("", []),
        ("a" * 1000, ["a" * MAX_WORD]),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("tax*", [("tax*", "tax", True)]),
        ("Tax\uff0a Free", [("tax*", "tax", True), ("free", "free", False)]),
        ("tax.*", [("tax", "tax", False), ("*", "", True)]),
        ("ta*xi", [("*", "", True)]),
        ("tax **", [("tax", "tax", False), ("*", "", True)]),
        ("*tax", [("*", "", True)]),
        ("⭐ *", [("*", "", True)]),
        ("\u0301*", [("*", "", True)]),
        ("⭐ \u0301", []),
    ],
)
def test_a_star_at_the_end_of_a_word_asks_for_what_it_begins_with(
    text: str, asked: list[tuple[str, str, bool]]
) -> None:
    assert [(each.text, each.term.name, each.is_prefix) for each in asked_words(text)] == asked


@given(st.text())
@example("ΐΰ ŉ ﬃ ﷺ")
def test_a_word_that_was_read_is_found_by_its_own_spelling(text: str) -> None:
    document = document_of("a.png", showing(text))

    assert all(document.match(asked, 90) for asked in asked_words(text.replace("*", " ")))
    assert all(set(words_of(each)) == {each} for each in words_of(text))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_words_are_the_same_in_any_normal_form(text: str) -> None:
    forms = {tuple(words_of(unicodedata.normalize(form, text))) for form in ("NFC", "NFD", "NFKC", "NFKD")}

    assert len(forms) == 1


@given(confidences, confidences)
def test_the_surer_ranks_first_and_ranks_are_of_one_length(one: float, other: float) -> None:
    assert one < other or rank(one) <= rank(other)
    assert len(rank(one)) == 6


@pytest.mark.parametrize(("confidence", "ranked"), [(-1.0, "100000"), (101.0, "000000"), (98.765, "001235")])
def test_a_rank_has_its_bounds(confidence: float, ranked: str) -> None:
    assert rank(confidence) == ranked


def test_of_too_many_words_the_surest_are_found() -> None:
    words = [Word(f"w{number}", 99 - number / 10, BOX) for number in range(MOST_WORDS + 1)]
    image = Image("a.png", Status.LABELLED, text=(Line("", 90, BOX, tuple(reversed(words))),))

    found = {term.name for term in document_of("a.png", image).ranks}

    assert found == {f"w{number}" for number in range(MOST_WORDS)}


def test_a_word_of_too_many_words_is_none() -> None:
    monster = "-".join(f"w{number}" for number in range(MOST_WORDS + 1))

    assert [term.name for term in document_of("a.png", showing(monster, "taxi")).ranks] == ["taxi"]


def test_a_label_is_found_by_its_first_other_names() -> None:
    many = tuple(f"a{number}" for number in range(MOST_NAMES + 1))
    image = Image("a.png", Status.LABELLED, labels=(Label("", 90), Label("Dog", 90, (), ("", *many), many)))

    names = {term.name for term in document_of("a.png", image).ranks}

    assert names == {"dog", *many[:MOST_NAMES]}
