"""What a search reads, against a Scan: `python -m bench.search`.

Pictures of ten labels and two words are spelled by the app's own code, as labelling and indexing write them,
and put into the laptop's AWS; then they are searched for. The laptop's ConsumedCapacity means nothing, so
what a search has read is weighed on the SDK's way to it, by AWS's rule:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import boto3
import moto.dynamodb.models as dynamodb_models
from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models.dynamo_type import DynamoType
from rich import print as show
from rich.table import Table

from chalicelib import items, rows
from chalicelib.deny_list import DenyList
from chalicelib.document import asked_label, asked_words, document_of
from chalicelib.model import Answer, Box, Findings, Label, Line, Status, StoredObject, Word
from chalicelib.search import Search, Wanted
from chalicelib.terms import Indexed, Terms
from local_cloud import resources
from local_cloud.cloud import enter_stage
from local_cloud.endpoint import Endpoint
from tests.direct import straight_to
from tests.interception import Call, Layer, intercept

ROOT = Path(__file__).parent.parent
IMAGES, TERMS = "image-labeller-local-images", "image-labeller-local-terms"
LABEL_ROWS = (1_000, 10_000, 100_000)
LABELS = 10  # of a picture
FEW = 10  # pictures that show what is rare, however many there are
PAGE = 20
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BOX = Box(0.1, 0.2, 0.5, 0.4)
READS = ("Query", "BatchGetItem")
UNIT, PAGE_BYTES = 4096, 1024 * 1024


def wanted(*labels: str, but_not: str = "", text: str = "", least: float = 0.0) -> Wanted:
    these = (*map(asked_label, labels), *asked_words(text))
    return Wanted(these, (asked_label(but_not),) if but_not else (), least)


SEARCHES = {
    "label=lighthouse, which few have": wanted("lighthouse"),
    "label=lighthouse, label=person": wanted("person", "lighthouse"),
    "label=beacon, its alias, and not=dog": wanted("beacon", but_not="dog"),
    "text=taxi, which few have": wanted(text="taxi"),
    "text=tax*": wanted(text="tax*"),
    "label=person, which every second has": wanted("person"),
    "the same, min_confidence=90": wanted("person", least=90.0),
    "label=animal, label=person, not=dog": wanted("animal", "person", but_not="dog"),
    "label=none, which nobody has": wanted("none", "person"),
}


@dataclass
class Scale:
    """A layer that weighs what is read."""

    below: Layer
    units: float = 0.0
    calls: int = 0

    def __call__(self, call: Call) -> Any:
        answer = self.below(call)
        if call.operation in READS:
            self.calls += 1
            body: Any = call.request.body
            self.units += self._units(call.operation, json.loads(body), json.loads(answer.content))
        return answer

    def _units(self, operation: str, request: Any, answer: Any) -> float:
        """Of a page as a whole, or of each row by itself; no read of a search is consistent."""
        if operation == "Query":
            return units(sum(size_of(request["TableName"], item) for item in answer["Items"]))
        return sum(
            units(size_of(table, key))
            for table, asked in request["RequestItems"].items()
            for key in asked["Keys"]
        )


@dataclass
class Writings:
    """Takes the place of a client, and keeps what is written instead of writing it."""

    rows: list[Any] = field(default_factory=list)
    counters: dict[tuple[str, str], Any] = field(default_factory=dict)
    actions: int = 0

    def transact_write_items(self, TransactItems: list[Any]) -> None:  # noqa: N803 - the SDK's name
        for item in TransactItems:
            self.actions += 1
            if "Put" in item:
                self.rows.append(item["Put"]["Item"])
            else:
                self._count(item["Update"])

    def _count(self, update: Any) -> None:
        values = update["ExpressionAttributeValues"]
        key = (update["Key"]["term"]["S"], update["Key"]["entry"]["S"])
        row = self.counters.setdefault(key, {**update["Key"], "count": {"N": "0"}})
        row["count"] = {"N": str(int(row["count"]["N"]) + 1)}
        row |= {name[1:]: value for name, value in values.items() if name != ":count"}


def units(size: int) -> float:
    return max(1, ceil(size / UNIT)) / 2


def size_of(table: str, key: Any) -> int:
    """Of a whole row, however little of it is asked for."""
    names = [each["AttributeName"] for each in table_of(table).schema]
    item = table_of(table).get_item(*(DynamoType(key[name]) for name in names))
    return int(item.size()) if item else 0


def table_of(name: str) -> Any:
    return dynamodb_models.dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[name]


def scanned() -> float:
    """The units of a Scan of all pictures and their labels, a megabyte after the other."""
    total, page = 0.0, 0
    for item in table_of(IMAGES).all_items():
        if page + item.size() > PAGE_BYTES:
            total, page = total + units(page), 0
        page += int(item.size())
    return total + units(page)


def answers(pictures: int) -> Iterator[tuple[StoredObject, Answer]]:
    """A picture has a person or none, an animal or none, and things that others have too."""
    dice = Random(0)  # noqa: S311 - the same each time
    for number in range(pictures):
        names = ["Person"] * (number % 2) + dice.choices(("Dog", "Cat", "Horse"), k=number % 5 == 0)
        names += ["Lighthouse"] if number % (pictures // FEW) == 0 else []
        names += [f"Thing {each}" for each in dice.sample(range(300), LABELS - len(names))]
        labels = tuple(label(name, round(dice.uniform(55, 99.9), 4)) for name in names)
        is_taxi = number % (pictures // FEW) == 1
        words = ("TAXI" if is_taxi else f"word{number % 500}", str(number))
        text = Line(" ".join(words), 95.0, BOX, tuple(Word(word, 95.0, BOX) for word in words))
        found = StoredObject(f"photos/{number:08}.jpg", f"v{number}", "e", 48_123, "image/jpeg", NOW, {}, b"")
        yield (
            found,
            Answer(Status.LABELLED, content_type="image/jpeg", findings=Findings(labels, text=(text,))),
        )


def label(name: str, confidence: float) -> Label:
    parents = {"Dog": ("Animal", "Pet"), "Cat": ("Animal", "Pet"), "Horse": ("Animal",)}
    aliases = {"Person": ("Human",), "Lighthouse": ("Beacon",)}
    others = (f"Kind {name[-1]}",) if name.startswith("Thing") else ()
    return Label(name, confidence, ("Category",), parents.get(name, others), aliases.get(name, ()))


def fill(pictures: int) -> Writings:
    """Empties the tables and puts so many pictures in, with what search is made of."""
    for table in (IMAGES, TERMS):
        table_of(table).items.clear()
    table_of(IMAGES).stream_shard = None
    writings, of_images = Writings(), []
    terms: Any = Terms(writings, TERMS)  # type: ignore[arg-type]
    for found, answer in answers(pictures):
        row = {**rows.image_key(found.key), **rows.answer_fields(found, "run", answer, NOW), "run": "run"}
        of_images += [items.marshal(each) for each in (row, *rows.label_rows(found, answer, NOW))]
        document = document_of(found.key, rows.read_image(items.unmarshal(items.marshal(row))))
        terms.write(Indexed(document_of(found.key, None)), document, NOW)
    put(IMAGES, of_images)
    put(TERMS, [*writings.rows, *writings.counters.values()])
    return writings


def put(name: str, items: list[Any]) -> None:
    """Into moto's own store: its BatchWriteItem would take half an hour."""
    table = table_of(name)
    for item in items:
        table.put_item(item)


def measure(search: Search, scale: Scale) -> dict[str, tuple[float, int]]:
    """Units and calls of each search for its first page."""
    asked: dict[str, Any] = {
        name: lambda each=each: search.find(each, None, PAGE) for name, each in SEARCHES.items()
    }
    asked["GET /labels?prefix=p"] = lambda: first(search.names("p", "", PAGE + 1), PAGE + 1)
    taken = {}
    for name, ask in asked.items():
        scale.units, scale.calls = 0.0, 0
        ask()
        taken[name] = (scale.units, scale.calls)
    return taken


def first(found: Iterable[Any], most: int) -> list[Any]:
    return [each for each, _ in zip(found, range(most), strict=False)]


def main() -> None:
    with Endpoint(0) as endpoint:
        enter_stage(endpoint.url)
        scale = Scale(straight_to(endpoint))
        session = intercept(boto3.Session(), scale)
        resources.create(session, "local", ROOT / ".chalice/resources.yaml")
        search = Search(Terms(session.client("dynamodb"), TERMS), DenyList())
        results, notes = [], []
        for label_rows in LABEL_ROWS:
            started = time.perf_counter()
            pictures = label_rows // LABELS
            writings = fill(pictures)
            results.append({**measure(search, scale), "a Scan of the table images": (scanned(), 0)})
            notes.append(
                f"{label_rows:,} label rows: {pictures:,} pictures, {writings.actions / pictures:.0f} writes"
                f" to index one, {megabytes(IMAGES):.1f} MB in images, {megabytes(TERMS):.1f} MB in terms"
                f" ({time.perf_counter() - started:.0f} s)"
            )
        show(table(results))
        show("\n".join(notes))


def megabytes(name: str) -> float:
    return sum(int(item.size()) for item in table_of(name).all_items()) / 1e6


def table(results: list[dict[str, tuple[float, int]]]) -> Table:
    table = Table(box=None, title=f"read units (and calls) for a page of {PAGE}")
    table.add_column("label rows")
    for label_rows in LABEL_ROWS:
        table.add_column(f"{label_rows:,}", justify="right")
    for name in results[0]:
        cells = (
            f"{each[name][0]:,.1f}" + (f" ({each[name][1]})" if each[name][1] else "") for each in results
        )
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    main()
