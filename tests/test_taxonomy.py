import pytest

from chalicelib.taxonomy import PARENTS, closest, is_name


def test_the_taxonomy_has_ten_categories_and_three_levels() -> None:
    assert [name for name, parent in PARENTS.items() if not parent] == [
        "Explicit",
        "Non-Explicit Nudity of Intimate parts and Kissing",
        "Swimwear or Underwear",
        "Violence",
        "Visually Disturbing",
        "Drugs & Tobacco",
        "Alcohol",
        "Rude Gestures",
        "Gambling",
        "Hate Symbols",
    ]
    assert {parent for parent in PARENTS.values() if parent} <= PARENTS.keys()
    assert [name for name, parent in PARENTS.items() if parent == "Graphic Violence"] == [
        "Weapon Violence",
        "Physical Violence",
        "Self-Harm",
        "Blood & Gore",
        "Explosions and Blasts",
    ]
    assert len(PARENTS) == 52


@pytest.mark.parametrize("name", PARENTS)
def test_a_name_is_one_in_any_case(name: str) -> None:
    assert is_name(name)
    assert is_name(name.upper())


@pytest.mark.parametrize("text", ["", " Violence", "Violences", "Nudity", "Illustrated"])
def test_nothing_else_is_a_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("violense", "Violence"),
        ("Blood and Gore", "Blood & Gore"),
        ("Hate Symbol", "Hate Symbols"),
        ("Exposed Female Nipples", "Exposed Female Nipple"),
        ("Selfharm", "Self-Harm"),
        ("", None),
        ("Suggestive", None),
        ("犬", None),
    ],
)
def test_the_closest_name_is_what_may_be_meant(text: str, name: str | None) -> None:
    assert closest(text) == name
