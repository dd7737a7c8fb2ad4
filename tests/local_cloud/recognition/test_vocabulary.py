import pytest

from local_cloud.recognition.request import service_model
from local_cloud.recognition.vocabulary import COCO, ENTRIES, Entry, entry_of, name_in_rekognition


def test_all_classes_of_the_object_detector_have_an_entry() -> None:
    assert len(COCO) == len(set(COCO)) == 80
    assert [name for name in COCO if name not in ENTRIES] == []


def test_the_ancestors_of_a_parent_are_ancestors_too() -> None:
    orphans = [
        (entry.name, parent, grandparent)
        for entry in ENTRIES.values()
        for parent in entry.parents
        for grandparent in entry_of(parent).parents
        if grandparent not in entry.parents
    ]

    assert orphans == []


def test_every_ancestor_has_an_entry_and_every_entry_a_category() -> None:
    assert {parent for entry in ENTRIES.values() for parent in entry.parents} <= ENTRIES.keys()
    assert [entry.name for entry in ENTRIES.values() if not entry.category] == []


def test_names_can_be_filtered_by() -> None:
    filter_value = service_model().shape_for("GeneralLabelsFilterValue")

    assert all(len(name) <= filter_value.metadata["max"] for name in ENTRIES)


@pytest.mark.parametrize(
    "entry",
    [
        Entry("Person", "Person Description", (), ("Human",)),
        Entry("Face", "Person Description", ("Head", "Person")),
        Entry("Dog", "Animals and Pets", ("Animal", "Canine", "Mammal", "Pet")),
        Entry("Cat", "Animals and Pets", ("Animal", "Mammal", "Pet")),
        Entry("Cup", "Kitchen and Dining", (), ("Mug",)),
        Entry("Mobile Phone", "Technology and Computing", ("Electronics", "Phone"), ("Cell Phone",)),
        Entry("Car", "Vehicles and Automotive", ("Transportation", "Vehicle"), ("Automobile",)),
        Entry("Document", "Text and Documents", ("Text",)),
    ],
    ids=lambda entry: entry.name,
)
def test_an_entry_is_as_rekognition_has_it(entry: Entry) -> None:
    assert entry_of(entry.name) == entry


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("cup", "Cup"),
        ("cell phone", "Mobile Phone"),
        ("MOTORBIKE", "Motorcycle"),
        ("tabby, tabby cat", "tabby, tabby cat"),
        ("", ""),
    ],
)
def test_other_spellings_get_rekognitions_name_and_unknown_things_keep_theirs(name: str, called: str) -> None:
    assert name_in_rekognition(name) == called


def test_an_unknown_thing_has_no_relations() -> None:
    assert entry_of("Axolotl") == Entry("Axolotl", None, (), ())
