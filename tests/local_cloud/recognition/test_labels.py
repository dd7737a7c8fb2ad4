import pytest

from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.labels import name_labels, select_labels

DOG = Detection("Dog", 90.1234, Box(0.1, 0.2, 0.3, 0.4))
SEEN = name_labels([DOG, Detection("Cup", 60.0, Box(0, 0, 0.5, 0.5)), Detection("Axolotl", 57.0)])
DOG_AND_ANCESTORS = ["Animal", "Canine", "Dog", "Mammal", "Pet"]


def test_a_label_has_all_that_rekognition_says_of_it() -> None:
    labels = name_labels([DOG, Detection("Dog", 70.0, Box(0.6, 0.6, 0.2, 0.2))])

    assert next(label for label in labels if label["Name"] == "Dog") == {
        "Name": "Dog",
        "Confidence": 90.1234,
        "Instances": [
            {
                "BoundingBox": {"Width": 0.3, "Height": 0.4, "Left": 0.1, "Top": 0.2},
                "Confidence": 90.1234,
            },
            {"BoundingBox": {"Width": 0.2, "Height": 0.2, "Left": 0.6, "Top": 0.6}, "Confidence": 70.0},
        ],
        "Parents": [{"Name": "Animal"}, {"Name": "Canine"}, {"Name": "Mammal"}, {"Name": "Pet"}],
        "Aliases": [],
        "Categories": [{"Name": "Animals and Pets"}],
    }


def test_ancestors_are_labels_as_sure_as_their_surest_child_and_in_no_place() -> None:
    labels = name_labels([DOG, Detection("Horse", 95.0, Box(0, 0, 1, 1))])

    assert [(label["Name"], label["Confidence"], len(label["Instances"])) for label in labels] == [
        ("Animal", 95.0, 0),
        ("Horse", 95.0, 1),
        ("Mammal", 95.0, 0),
        ("Canine", 90.1234, 0),
        ("Dog", 90.1234, 1),
        ("Pet", 90.1234, 0),
    ]


def test_what_is_seen_itself_and_as_an_ancestor_is_one_label() -> None:
    face = Detection("Face", 90.0, Box(0.4, 0.1, 0.2, 0.2))
    person = Detection("Person", 80.0, Box(0.2, 0.1, 0.5, 0.9))

    labels = name_labels([face, person])

    assert [(label["Name"], label["Confidence"], len(label["Instances"])) for label in labels] == [
        ("Face", 90.0, 1),
        ("Head", 90.0, 0),
        ("Person", 90.0, 1),
    ]


def test_nothing_seen_is_no_label() -> None:
    assert name_labels([]) == []


@pytest.mark.parametrize(
    ("limits", "names"),
    [
        pytest.param({}, [*DOG_AND_ANCESTORS, "Cup", "Axolotl"], id="all"),
        pytest.param({"MinConfidence": 60}, [*DOG_AND_ANCESTORS, "Cup"], id="at least"),
        pytest.param({"MinConfidence": 60.0001}, DOG_AND_ANCESTORS, id="more"),
        pytest.param({"MinConfidence": 100}, [], id="certain"),
        pytest.param({"MaxLabels": 2}, ["Animal", "Canine"], id="first two"),
        pytest.param({"MaxLabels": 0}, [], id="none wanted"),
        pytest.param({"MaxLabels": 5000, "MinConfidence": 60}, [*DOG_AND_ANCESTORS, "Cup"], id="many"),
    ],
)
def test_a_request_gets_so_many_and_so_sure_labels(limits: dict[str, float], names: list[str]) -> None:
    assert [label["Name"] for label in select_labels(SEEN, limits)] == names


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        pytest.param({"Label": ["Dog", "Tiger"]}, ["Dog"], id="included"),
        pytest.param({"Label": ["dog"]}, [], id="the exact name only"),
        pytest.param({"Label": []}, [*DOG_AND_ANCESTORS, "Cup", "Axolotl"], id="empty filter"),
        pytest.param({"LabelCategory": ["Kitchen and Dining"]}, ["Cup"], id="category"),
        pytest.param(
            {"Label": ["Axolotl"], "LabelCategory": ["Kitchen and Dining"]}, ["Cup", "Axolotl"], id="both"
        ),
    ],
)
def test_inclusion_filters_name_what_is_wanted(filters: dict[str, list[str]], names: list[str]) -> None:
    inclusion = {f"{kind}InclusionFilters": values for kind, values in filters.items()}

    selected = select_labels(SEEN, {"Settings": {"GeneralLabels": inclusion}})

    assert [label["Name"] for label in selected] == names


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        pytest.param({"Label": ["Pet", "Mammal", "Canine", "Animal"]}, ["Dog", "Cup", "Axolotl"], id="label"),
        pytest.param({"LabelCategory": ["Animals and Pets"]}, ["Cup", "Axolotl"], id="category"),
        pytest.param({"LabelCategory": ["Animals and Pets"], "Label": ["Cup"]}, ["Axolotl"], id="both"),
    ],
)
def test_exclusion_filters_name_what_is_not_wanted(filters: dict[str, list[str]], names: list[str]) -> None:
    exclusion = {f"{kind}ExclusionFilters": values for kind, values in filters.items()}

    selected = select_labels(SEEN, {"Settings": {"GeneralLabels": exclusion}})

    assert [label["Name"] for label in selected] == names


def test_exclusion_wins_over_inclusion() -> None:
    filters = {
        "LabelCategoryInclusionFilters": ["Animals and Pets"],
        "LabelExclusionFilters": ["Animal", "Canine", "Mammal", "Pet"],
    }

    selected = select_labels(SEEN, {"Settings": {"GeneralLabels": filters}})

    assert [label["Name"] for label in selected] == ["Dog"]
