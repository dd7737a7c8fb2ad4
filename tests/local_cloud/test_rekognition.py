import base64
import json
import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from PIL import Image

from local_cloud.aws_json import Reply
from local_cloud.endpoint import Endpoint
from local_cloud.recognition.codes import CodeDetector
from local_cloud.recognition.faces import FaceDetector
from local_cloud.recognition.local import LocalRecogniser
from local_cloud.recognition.picture import Picture
from local_cloud.recognition.request import service_model
from local_cloud.recognition.text import TextDetector
from local_cloud.rekognition import PICTURES_REMEMBERED, LocalRekognition
from tests.local_cloud.conftest import CommandLine
from tests.local_cloud.recognition.drawing import SAMPLES, draw_qr_code, encode, write

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient

ASTRONAUT = (SAMPLES / "astronaut.png").read_bytes()
MEGABYTE = 1024 * 1024
DETECT_LABELS = "RekognitionService.DetectLabels"
OPERATIONS = ("DetectLabels", "DetectModerationLabels", "DetectText")
SIGN = encode(write("moderation: Smoking, 71", "TAXI to Berlin 42", size=(600, 200)))
OBJECTS: Mapping[tuple[str, str, str | None], bytes] = {
    ("pictures", "astronaut.png", None): ASTRONAUT,
    ("pictures", "a/b c+%ü🙂.JPG", "v1"): encode(draw_qr_code("hello")),
    ("pictures", "fifteen", None): ASTRONAUT + b"\0" * (15 * MEGABYTE - len(ASTRONAUT)),
    ("pictures", "more", None): ASTRONAUT + b"\0" * (15 * MEGABYTE - len(ASTRONAUT) + 1),
    ("pictures", "sign.png", None): SIGN,
    ("pictures", "empty", None): b"",
    ("pictures", "notes.txt", None): b"no picture",
}


@pytest.fixture(scope="module")
def rekognition() -> Iterator[LocalRekognition]:
    recogniser = LocalRecogniser([FaceDetector(), CodeDetector()], TextDetector())
    yield LocalRekognition(lambda bucket, key, version: OBJECTS.get((bucket, key, version)), recogniser)
    recogniser.close()


@pytest.fixture(scope="module")
def client(rekognition: LocalRekognition) -> Iterator["RekognitionClient"]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = rekognition.answer(self.headers["X-Amz-Target"], body)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        config = Config(retries={"total_max_attempts": 1})
        client = boto3.client(
            "rekognition",
            "us-east-1",
            endpoint_url=url,
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=config,
        )
        yield client
        client.close()
        server.shutdown()


def image(data: bytes) -> dict[str, Any]:
    return {"Image": {"Bytes": base64.b64encode(data).decode()}}


def s3_object(name: str, bucket: str = "pictures", **version: str) -> dict[str, Any]:
    return {"Image": {"S3Object": {"Bucket": bucket, "Name": name, **version}}}


BYTES_AND_OBJECT = {**image(ASTRONAUT)["Image"], **s3_object("astronaut.png")["Image"]}


def ask(rekognition: LocalRekognition, operation: str, request: object) -> Reply:
    return rekognition.answer(f"RekognitionService.{operation}", json.dumps(request).encode())


def detect_labels(rekognition: LocalRekognition, request: object) -> Reply:
    return ask(rekognition, "DetectLabels", request)


def refusal(reply: Reply) -> tuple[int, str]:
    return reply.status, json.loads(reply.body)["__type"]


def names(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [label["Name"] for label in json.loads(reply.body)["Labels"]]


@pytest.mark.parametrize("name", ["astronaut.png", "sign.png", "a/b c+%ü🙂.JPG"])
@pytest.mark.parametrize(
    ("operation", "wishes"),
    [
        pytest.param("DetectLabels", {}, id="labels"),
        pytest.param("DetectLabels", {"Features": ["IMAGE_PROPERTIES"]}, id="properties"),
        pytest.param("DetectLabels", {"Features": ["IMAGE_PROPERTIES", "GENERAL_LABELS"]}, id="both"),
        pytest.param("DetectModerationLabels", {"MinConfidence": 0}, id="moderation"),
        pytest.param("DetectText", {"Filters": {"WordFilter": {"MinConfidence": 0}}}, id="text"),
    ],
)
def test_an_answer_is_what_the_service_model_says(
    rekognition: LocalRekognition, operation: str, wishes: dict[str, Any], name: str
) -> None:
    place = s3_object(name, **({"Version": "v1"} if name.endswith("JPG") else {}))
    shape = service_model().operation_model(operation).output_shape
    assert shape

    answer = json.loads(ask(rekognition, operation, {**place, **wishes}).body)

    assert ParamValidator().validate(answer, shape).generate_report() == ""
    assert answer.keys() <= shape.members.keys()


def test_labels_have_all_members(rekognition: LocalRekognition) -> None:
    answer = json.loads(detect_labels(rekognition, image(ASTRONAUT)).body)

    assert answer.keys() == {"Labels", "LabelModelVersion"}
    assert answer["LabelModelVersion"] == "local-1"
    assert [label.keys() for label in answer["Labels"]] == [
        {"Name", "Confidence", "Instances", "Parents", "Aliases", "Categories"}
    ] * 3


def test_headers_are_those_of_the_json_protocol(rekognition: LocalRekognition) -> None:
    first, second = (detect_labels(rekognition, image(ASTRONAUT)).headers for _ in range(2))

    assert first["Content-Type"] == "application/x-amz-json-1.1"
    assert first["x-amzn-RequestId"] != second["x-amzn-RequestId"]


def test_bytes_and_the_same_object_in_s3_have_the_same_labels(rekognition: LocalRekognition) -> None:
    sent = detect_labels(rekognition, image(ASTRONAUT))
    stored = detect_labels(rekognition, s3_object("astronaut.png"))

    assert sent.body == stored.body
    assert names(sent) == ["Face", "Head", "Person"]


def test_an_object_is_read_by_bucket_key_and_version(rekognition: LocalRekognition) -> None:
    assert names(detect_labels(rekognition, s3_object("a/b c+%ü🙂.JPG", Version="v1"))) == ["QR Code"]


def test_boto3_reads_the_answer(client: "RekognitionClient") -> None:
    answer = client.detect_labels(Image={"Bytes": ASTRONAUT}, MaxLabels=1, MinConfidence=80.5)

    assert [label["Name"] for label in answer["Labels"]] == ["Face"]
    assert answer["LabelModelVersion"] == "local-1"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ({"Bucket": "pictures", "Name": "nowhere.png"}, "InvalidS3ObjectException"),
        ({"Bucket": "elsewhere", "Name": "astronaut.png"}, "InvalidS3ObjectException"),
        ({"Bucket": "pictures", "Name": "astronaut.png", "Version": "v7"}, "InvalidS3ObjectException"),
        ({"Bucket": "pictures", "Name": "notes.txt"}, "InvalidImageFormatException"),
        ({"Bucket": "pictures", "Name": "more"}, "ImageTooLargeException"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["Name"],
)
@pytest.mark.parametrize("method", ["detect_labels", "detect_moderation_labels", "detect_text"])
def test_boto3_raises_the_error(
    client: "RekognitionClient", method: str, place: dict[str, str], error: str
) -> None:
    with pytest.raises(ClientError) as raised:
        getattr(client, method)(Image={"S3Object": place})

    assert raised.value.response["Error"]["Code"] == error
    assert raised.value.response["Error"]["Message"]
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert isinstance(raised.value, getattr(client.exceptions, error))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", "InvalidImageFormatException", id="empty"),
        pytest.param(b"no picture", "InvalidImageFormatException", id="text"),
        pytest.param(ASTRONAUT[:1000], "InvalidImageFormatException", id="truncated"),
        pytest.param(encode(Image.new("RGB", (90, 90)), "GIF"), "InvalidImageFormatException", id="GIF"),
        pytest.param(encode(Image.new("RGB", (90, 90)), "WEBP"), "InvalidImageFormatException", id="WebP"),
        pytest.param(encode(Image.new("RGB", (79, 90))), "InvalidParameterException", id="too narrow"),
        pytest.param(
            encode(Image.new("RGB", (90, 79), "red"), "JPEG"), "InvalidParameterException", id="too low"
        ),
        pytest.param(encode(Image.new("1", (10_001, 90))), "ImageTooLargeException", id="too wide"),
        pytest.param(ASTRONAUT + b"\0" * 5 * MEGABYTE, "ImageTooLargeException", id="over 5 MB"),
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_picture_that_rekognition_refuses(
    rekognition: LocalRekognition, operation: str, data: bytes, error: str
) -> None:
    assert refusal(ask(rekognition, operation, image(data))) == (400, error)


def test_an_object_may_have_15_megabytes_and_bytes_5(rekognition: LocalRekognition) -> None:
    five = ASTRONAUT + b"\0" * (5 * MEGABYTE - len(ASTRONAUT))

    assert names(detect_labels(rekognition, s3_object("fifteen"))) == ["Face", "Head", "Person"]
    assert names(detect_labels(rekognition, image(five))) == ["Face", "Head", "Person"]


def test_an_empty_object_is_no_picture(rekognition: LocalRekognition) -> None:
    assert refusal(detect_labels(rekognition, s3_object("empty"))) == (400, "InvalidImageFormatException")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"MinConfidence": -0.1}, "InvalidParameterException", id="MinConfidence under 0"),
        pytest.param({"MinConfidence": 100.1}, "InvalidParameterException", id="MinConfidence over 100"),
        pytest.param({"MinConfidence": 10**400}, "InvalidParameterException", id="MinConfidence huge"),
        pytest.param({"MinConfidence": "80"}, "SerializationException", id="MinConfidence a string"),
        pytest.param({"MinConfidence": True}, "SerializationException", id="MinConfidence a boolean"),
        pytest.param({"MinConfidence": float("nan")}, "SerializationException", id="MinConfidence NaN"),
        pytest.param({"MinConfidence": float("inf")}, "SerializationException", id="MinConfidence infinite"),
        pytest.param({"MaxLabels": -1}, "InvalidParameterException", id="MaxLabels under 0"),
        pytest.param({"MaxLabels": 1.5}, "SerializationException", id="MaxLabels a fraction"),
        pytest.param({"MaxLabels": 2**31}, "SerializationException", id="MaxLabels over 32 bits"),
        pytest.param({"MaxLabels": False}, "SerializationException", id="MaxLabels a boolean"),
        pytest.param({"Features": "GENERAL_LABELS"}, "SerializationException", id="Features a string"),
        pytest.param({"Features": ["FACES"]}, "InvalidParameterException", id="Features unknown"),
        pytest.param({"Features": ["GENERAL_LABELS"] * 3}, "InvalidParameterException", id="three Features"),
        pytest.param({"Settings": []}, "SerializationException", id="Settings a list"),
        pytest.param({"Image": {}}, "InvalidParameterException", id="Image empty"),
        pytest.param({"Image": None}, "InvalidParameterException", id="Image null"),
        pytest.param({"Image": "x"}, "SerializationException", id="Image a string"),
        pytest.param({"Image": {"Bytes": "no base64!"}}, "SerializationException", id="Bytes not base64"),
        pytest.param({"Image": {"Bytes": "abc"}}, "SerializationException", id="Bytes cut off"),
        pytest.param({"Image": {"Bytes": "é" * 8}}, "SerializationException", id="Bytes not ASCII"),
        pytest.param({"Image": {"Bytes": 5}}, "SerializationException", id="Bytes a number"),
        pytest.param({"Image": BYTES_AND_OBJECT}, "InvalidParameterException", id="Bytes and S3Object"),
        pytest.param(s3_object("x", bucket="ab"), "InvalidParameterException", id="Bucket too short"),
        pytest.param(s3_object("x", bucket="a/b/c"), "InvalidParameterException", id="Bucket with a slash"),
        pytest.param(s3_object(""), "InvalidParameterException", id="Name empty"),
        pytest.param(s3_object("x" * 1025), "InvalidParameterException", id="Name too long"),
        pytest.param(s3_object("\ud800"), "SerializationException", id="Name half a character"),
        pytest.param(s3_object("x", Version=""), "InvalidParameterException", id="Version empty"),
        pytest.param({"Image": {"S3Object": {"Bucket": "abc"}}}, "InvalidParameterException", id="no Name"),
        pytest.param({"Image": {"S3Object": {"Name": "x"}}}, "InvalidParameterException", id="no Bucket"),
    ],
)
def test_a_request_that_the_service_model_forbids(
    rekognition: LocalRekognition, change: dict[str, Any], error: str
) -> None:
    assert refusal(detect_labels(rekognition, {**image(ASTRONAUT), **change})) == (400, error)


@pytest.mark.parametrize(
    ("filters", "error"),
    [
        pytest.param(["x"] * 101, "InvalidParameterException", id="101 of them"),
        pytest.param(["x" * 51], "InvalidParameterException", id="51 characters"),
        pytest.param(["Dog~Cat"], "InvalidParameterException", id="a character that no label has"),
        pytest.param([1], "SerializationException", id="a number"),
        pytest.param([None], "SerializationException", id="null"),
        pytest.param({"Dog": 1}, "SerializationException", id="an object"),
    ],
)
def test_a_filter_that_the_service_model_forbids(
    rekognition: LocalRekognition, filters: object, error: str
) -> None:
    settings = {"Settings": {"GeneralLabels": {"LabelInclusionFilters": filters}}}

    assert refusal(detect_labels(rekognition, {**image(ASTRONAUT), **settings})) == (400, error)


@pytest.mark.parametrize(
    ("operation", "change", "error"),
    [
        pytest.param(
            "DetectLabels",
            {"Settings": {"ImageProperties": {"MaxDominantColors": 21}}},
            "InvalidParameterException",
            id="21 colours",
        ),
        pytest.param(
            "DetectModerationLabels", {"MinConfidence": 101}, "InvalidParameterException", id="over certain"
        ),
        pytest.param(
            "DetectModerationLabels",
            {"ProjectVersion": "nobody's"},
            "InvalidParameterException",
            id="an adapter's name that is none",
        ),
        pytest.param(
            "DetectModerationLabels",
            {"HumanLoopConfig": {"HumanLoopName": "a", "FlowDefinitionArn": "arn"}},
            "ResourceNotFoundException",
            id="a human loop",
        ),
        pytest.param(
            "DetectText",
            {"Filters": {"WordFilter": {"MinBoundingBoxHeight": 1.1}}},
            "InvalidParameterException",
            id="words higher than the picture",
        ),
        pytest.param(
            "DetectText",
            {"Filters": {"RegionsOfInterest": [{"BoundingBox": {}}] * 11}},
            "InvalidParameterException",
            id="eleven regions",
        ),
        pytest.param(
            "DetectText",
            {"Filters": {"RegionsOfInterest": [{}]}},
            "InvalidParameterException",
            id="a region that is none",
        ),
        pytest.param(
            "DetectText",
            {"Filters": {"WordFilter": []}},
            "SerializationException",
            id="a filter that is a list",
        ),
    ],
)
def test_a_wish_that_rekognition_refuses(
    rekognition: LocalRekognition, operation: str, change: dict[str, Any], error: str
) -> None:
    assert refusal(ask(rekognition, operation, {**s3_object("sign.png"), **change})) == (400, error)


def test_a_constraint_is_named_as_aws_names_it(rekognition: LocalRekognition) -> None:
    reply = detect_labels(rekognition, {**image(ASTRONAUT), "MinConfidence": 101})

    assert json.loads(reply.body) == {
        "__type": "InvalidParameterException",
        "Message": "1 validation error detected: Value '101' at 'minConfidence' failed to satisfy"
        " constraint: Member must have value less than or equal to 100",
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\xff\xfe{}", id="not UTF-8"),
        pytest.param(b'{"Image": NaN}', id="NaN"),
        pytest.param(b'{"MaxLabels": ' + b"9" * 5000 + b"}", id="5,000 digits"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"Image":' * 100_000, id="deep objects"),
    ],
)
def test_a_body_that_is_no_json_object(rekognition: LocalRekognition, body: bytes) -> None:
    assert refusal(rekognition.answer(DETECT_LABELS, body)) == (400, "SerializationException")


def test_random_bodies_are_refused(rekognition: LocalRekognition) -> None:
    source = random.Random(3)
    whole = json.dumps({**s3_object("astronaut.png"), "MinConfidence": 70, "MaxLabels": 5}).encode()

    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            changed[source.randrange(len(changed))] = source.randrange(256)
        reply = rekognition.answer(DETECT_LABELS, bytes(changed))
        assert reply.status == 200 or refusal(reply)[0] == 400


def test_null_and_unknown_members_are_ignored(rekognition: LocalRekognition) -> None:
    request = {**s3_object("astronaut.png", Color="red"), "MaxLabels": None, "Colour": "red"}
    request["Image"]["Bytes"] = None

    assert names(detect_labels(rekognition, request)) == ["Face", "Head", "Person"]


@pytest.mark.parametrize(
    "target",
    [
        "",
        "DetectLabels",
        "RekognitionService.",
        "RekognitionService.DetectDragons",
        "DynamoDB_20120810.GetItem",
    ],
)
def test_an_unknown_operation_is_refused(rekognition: LocalRekognition, target: str) -> None:
    reply = rekognition.answer(target, b"{}")

    assert refusal(reply) == (400, "UnknownOperationException")
    assert target in json.loads(reply.body)["Message"]


@pytest.mark.parametrize("operation", ["DetectFaces", "ListCollections"])
def test_an_operation_that_is_not_there_is_named(rekognition: LocalRekognition, operation: str) -> None:
    body = json.dumps(image(ASTRONAUT)).encode()

    reply = rekognition.answer(f"RekognitionService.{operation}", body)

    assert refusal(reply) == (400, "UnknownOperationException")
    assert operation in json.loads(reply.body)["Message"]


def test_many_at_once_get_each_their_own_answer(rekognition: LocalRekognition) -> None:
    wanted = [s3_object("astronaut.png"), s3_object("a/b c+%ü🙂.JPG", Version="v1"), s3_object("nowhere")] * 6

    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda request: detect_labels(rekognition, request), wanted))

    assert [names(reply) for reply in replies[::3]] == [["Face", "Head", "Person"]] * 6
    assert [names(reply) for reply in replies[1::3]] == [["QR Code"]] * 6
    assert [refusal(reply) for reply in replies[2::3]] == [(400, "InvalidS3ObjectException")] * 6


def test_boto3_reads_text_and_moderation(client: "RekognitionClient") -> None:
    place: Any = {"S3Object": {"Bucket": "pictures", "Name": "sign.png"}}

    text = client.detect_text(Image=place, Filters={"WordFilter": {"MinConfidence": 90}})
    moderation = client.detect_moderation_labels(Image=place, MinConfidence=70)

    assert [found["DetectedText"] for found in text["TextDetections"] if found["Type"] == "LINE"] == [
        "moderation: Smoking, 71",
        "TAXI to Berlin 42",
    ]
    assert [(label["Name"], label["TaxonomyLevel"]) for label in moderation["ModerationLabels"]] == [
        ("Smoking", 3),
        ("Drugs & Tobacco Paraphernalia & Use", 2),
        ("Drugs & Tobacco", 1),
    ]
    assert text["TextModelVersion"] == moderation["ModerationModelVersion"] == "local-1"


def stored_turned(upright: Image.Image, orientation: int) -> bytes:
    """The JPEG that a viewer shows upright because of its EXIF orientation."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(stored, "JPEG", exif=exif, quality=95)


def sides(box: Mapping[str, float]) -> list[float]:
    return [box[side] for side in ("Left", "Top", "Width", "Height")]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_refer_to_a_jpeg_as_its_viewers_see_it(rekognition: LocalRekognition, orientation: int) -> None:
    upright = write("TAXI to Berlin", size=(640, 400), height=48)
    upright.paste(draw_qr_code("hello"), (400, 200))
    request = image(stored_turned(upright, orientation))

    [code] = [
        label
        for label in json.loads(detect_labels(rekognition, request).body)["Labels"]
        if label["Name"] == "QR Code"
    ]
    [line, *words] = json.loads(ask(rekognition, "DetectText", request).body)["TextDetections"]

    quiet, side = 2 * 7, 21 * 7
    place = [(400 + quiet) / 640, (200 + quiet) / 400, side / 640, side / 400]
    assert sides(code["Instances"][0]["BoundingBox"]) == pytest.approx(place, abs=0.02)
    assert sides(line["Geometry"]["BoundingBox"]) == pytest.approx([0.05, 0.1, 0.47, 0.14], abs=0.03)
    assert [word["DetectedText"] for word in words] == ["TAXI", "to", "Berlin"]
    assert words[0]["Geometry"]["BoundingBox"]["Left"] < words[2]["Geometry"]["BoundingBox"]["Left"] - 0.2


def test_boxes_refer_to_a_png_as_it_is_stored(rekognition: LocalRekognition) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(write("TAXI to Berlin", size=(640, 400), height=48), exif=exif)

    line = json.loads(ask(rekognition, "DetectText", image(data)).body)["TextDetections"][0]

    assert sides(line["Geometry"]["BoundingBox"]) == pytest.approx([0.05, 0.1, 0.47, 0.14], abs=0.03)


class Listener:
    """A recogniser that remembers the pictures that it was given."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.pictures: list[Picture] = []

    def recognise(self, _operation: str, picture: Picture, _request: Mapping[str, Any]) -> dict[str, Any]:
        self.pictures.append(picture)
        return {}

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


def test_the_same_bytes_are_the_same_picture_for_every_operation() -> None:
    listener = Listener()
    rekognition = LocalRekognition(lambda *_: ASTRONAUT, listener)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda operation: ask(rekognition, operation, image(ASTRONAUT)), OPERATIONS))
    ask(rekognition, "DetectText", s3_object("copy.png"))
    ask(rekognition, "DetectText", image(SIGN))

    first, *others, sign = listener.pictures
    assert [picture is first for picture in others] == [True] * 3
    assert sign is not first


def test_only_the_last_pictures_are_remembered() -> None:
    listener = Listener()
    rekognition = LocalRekognition(lambda *_: None, listener)
    pictures = [encode(Image.new("RGB", (80, 80 + extra))) for extra in range(PICTURES_REMEMBERED + 1)]

    for data in [*pictures, pictures[-1], pictures[0]]:
        ask(rekognition, "DetectText", image(data))

    oldest, *_, newest, newest_again, oldest_again = listener.pictures
    assert newest is newest_again
    assert oldest is not oldest_again


def test_the_command_line_asks_all_three(
    s3: Any, bucket: str, endpoint: Endpoint, aws: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(bucket: str, key: str, version: str | None) -> bytes:
        data: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    recogniser = LocalRecogniser([CodeDetector()], TextDetector())
    monkeypatch.setattr(endpoint, "_rekognition", LocalRekognition(read, recogniser))
    s3.put_object(Bucket=bucket, Key="sign.png", Body=SIGN)
    place = f"S3Object={{Bucket={bucket},Name=sign.png}}"

    answers = {
        command: json.loads(aws("rekognition", command, "--image", place, *options))
        for command, *options in (
            ("detect-labels", "--features", "GENERAL_LABELS", "IMAGE_PROPERTIES"),
            ("detect-moderation-labels", "--min-confidence", "60"),
            ("detect-text",),
        )
    }

    recogniser.close()
    assert [label["Name"] for label in answers["detect-labels"]["Labels"]] == ["Text"]
    colours = answers["detect-labels"]["ImageProperties"]["DominantColors"]
    assert colours[0]["CSSColor"] == "white"
    assert answers["detect-moderation-labels"]["ModerationLabels"][0]["Name"] == "Smoking"
    assert answers["detect-text"]["TextDetections"][1]["DetectedText"] == "TAXI to Berlin 42"
