"""What `make run` shows: the sample pictures with what was seen in them, and how to go on."""

import json
import logging
import shlex
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import boto3
from rich.console import Console
from rich.table import Table

from chalicelib.model import image_id
from local_cloud.cloud import PROJECT, LocalCloud, stage_variables

PICTURES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_ASKING = """-H 'Content-Type: application/json' -d '{"callback_url": "http://127.0.0.1:9000/"}'"""
PATIENCE = 60.0  # seconds for all samples together; the first picture waits until the detectors are loaded
PENDING = {"processing", "queued"}


def follow_log(console: Console) -> None:
    """Shows the app's log as lines to read, where Lambda gets JSON."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    log = logging.getLogger("image-labeller")
    log.handlers[:] = [_ConsoleHandler(console)]
    log.handlers[0].addFilter(lambda record: getattr(record, "outcome", None) != "recovered")  # each minute
    log.propagate = False


@dataclass(frozen=True)
class Example:
    """A sample and a label that was seen in it, to explain the commands with."""

    path: str
    label: str


FALLBACK = Example(str(PROJECT / "samples/coffee.png"), "Cup")


def label_samples(
    cloud: LocalCloud, folder: Path, console: Console, stopped: threading.Event
) -> Example | None:
    """Uploads the pictures of a folder and shows what was seen in each."""
    samples = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    s3 = boto3.client("s3")
    for path in samples:
        s3.upload_file(str(path), cloud.outputs["ImagesBucket"], path.name)
    table = Table("picture", "status", "what was seen")
    end = monotonic() + PATIENCE
    examples = []
    for path in samples:
        image = _wait_for(cloud, path.name, end, stopped)
        table.add_row(path.name, image["status"], ", ".join(map(_spell, image["labels"])) or "-")
        examples += [Example(str(path), label["name"]) for label in image["labels"] if label["instances"]]
    console.print(table)
    return min(examples, key=lambda example: example.label, default=None)


def show_way_on(cloud: LocalCloud, example: Example | None, console: Console) -> None:
    console.print(_way_on(cloud, example or FALLBACK), markup=False)


def _wait_for(cloud: LocalCloud, key: str, end: float, stopped: threading.Event) -> Mapping[str, Any]:
    image: Mapping[str, Any] = {"status": "processing", "labels": []}
    while image["status"] in PENDING and monotonic() < end and not stopped.wait(0.05):
        image = _read_image(cloud, key) or image
    return image


def _read_image(cloud: LocalCloud, key: str) -> Mapping[str, Any] | None:
    headers = {"Authorization": f"Bearer {cloud.token}"} if cloud.token else {}
    request = Request(f"{cloud.api_url}/images/{image_id(key)}", headers=headers)  # noqa: S310 - our own API
    try:
        with urlopen(request) as answer:  # noqa: S310
            image: Mapping[str, Any] = json.load(answer)
            return image
    except HTTPError as error:
        error.close()
        if error.code != 404:  # the event is still on its way
            raise
        return None


def _spell(label: Mapping[str, Any]) -> str:
    return f"{label['name']} {label['confidence']:.0f}"


def _way_on(cloud: LocalCloud, example: Example) -> str:
    aws = "aws" if shutil.which("aws") else ".venv/bin/aws"
    api, bucket = cloud.api_url, cloud.outputs["ImagesBucket"]
    key, label = f"my/{Path(example.path).name}", quote(example.label.lower(), safe="")
    credentials = " ".join(f"{name}={value}" for name, value in _credentials(cloud).items())
    by_key = urlencode({"key": key}, safe="/")
    curl = 'curl -H "Authorization: Bearer $TOKEN"' if cloud.token else "curl"
    return f"""
API        {api}
Bucket     s3://{bucket}

In another terminal, let the aws command line talk to this machine, and upload a picture:

  export {credentials}
  {aws} s3 cp {_relative(example.path)} s3://{bucket}/{key}

Ask what is in it, and which pictures show a {example.label.lower()}:

  {curl} '{api}/images?{by_key}'
  {curl} {api}/images/{image_id(key)}
  {curl} {api}/images/{image_id(key)}/labels/{label}
  {curl} '{api}/labels/{label}/images?min_confidence=60'
  {curl} '{api}/search?label={label}&not=person'

In a third one, receive callbacks:

  .venv/bin/python -m ops listen --secret {_secret(cloud)}

Upload through the API, whose answer says where to PUT the picture, and be called back when it is labelled:

  url=$({curl} -s -X POST {api}/images {_ASKING} | sed -E 's/.*"upload_url":"([^"]+)".*/\\1/')
  curl -X PUT -H 'If-None-Match: *' --upload-file {_relative(example.path)} "$url"

Ctrl-C stops it all and forgets the pictures.
"""


def _secret(cloud: LocalCloud) -> str:
    """Which signs the callbacks of this machine, and of no other."""
    client: Any = boto3.client("secretsmanager")
    return str(client.get_secret_value(SecretId=cloud.outputs["SigningSecretArn"])["SecretString"])


def _relative(path: str) -> str:
    inside = Path(path).is_relative_to(PROJECT)
    return shlex.quote(str(Path(path).relative_to(PROJECT)) if inside else path)


def _credentials(cloud: LocalCloud) -> Mapping[str, str]:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    of_aws = {name: stage_variables()[name] for name in names}
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        **of_aws,
        **({"TOKEN": cloud.token} if cloud.token else {}),
    }


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        # Whoever sends a request sees the answer; only why there was none is news.
        if record.levelno > logging.INFO or not hasattr(record, "route"):
            self._console.print(_readable(record), style="dim", markup=False)
        if record.exc_info:
            self._console.print(logging.Formatter().formatException(record.exc_info), markup=False)


def _readable(record: logging.LogRecord) -> str:
    facts = vars(record)
    about = " ".join(facts[name] for name in ("method", "route", "image") if facts.get(name))
    took = f"{facts['milliseconds']} ms" if "milliseconds" in facts else None
    told = dict.fromkeys((facts.get("outcome"), facts.get("reason"), record.getMessage(), took))
    line = ": ".join(filter(None, (about, ", ".join(filter(None, told)))))
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
