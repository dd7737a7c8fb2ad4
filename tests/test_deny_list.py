from chalicelib.deny_list import DenyList
from chalicelib.model import Image, Label, Status, Summary, TopLabel

HIDDEN = DenyList(("Man", "ÉLÈVE"))


def test_a_label_is_hidden_however_it_is_written() -> None:
    assert [HIDDEN.hides(name) for name in ("man", "MAN", "e\u0301le\u0300ve", "Woman", "Manatee", "")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_an_image_has_neither_the_label_nor_its_name() -> None:
    image = Image(
        "a.png",
        Status.LABELLED,
        labels=(
            Label("Man", 99, (), ("Person",), ("Male",)),
            Label("Beard", 90, ("Body",), ("Man", "Face"), ("Élève", "Whiskers")),
        ),
    )

    shown = HIDDEN.image(image)

    assert shown == Image(
        "a.png", Status.LABELLED, labels=(Label("Beard", 90, ("Body",), ("Face",), ("Whiskers",)),)
    )
    assert [label.name for label in shown.summary.top_labels] == ["Beard"]


def test_a_summary_has_no_such_label() -> None:
    summary = Summary(
        "a.png", Status.LABELLED, top_labels=(TopLabel("Man", 99), TopLabel("Dog", 90), TopLabel("élève", 80))
    )

    assert HIDDEN.summary(summary) == Summary("a.png", Status.LABELLED, top_labels=(TopLabel("Dog", 90),))


def test_an_empty_list_hides_nothing() -> None:
    image = Image("a.png", Status.LABELLED, labels=(Label("Man", 99, (), ("Person",), ("Male",)),))

    assert DenyList().image(image) == image
    assert not DenyList().hides("")
