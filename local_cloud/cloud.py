"""The whole of it on one machine: AWS's services, the app's functions, and its API."""

import importlib
import json
import os
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.exceptions import ClientError
from chalice import Chalice
from chalice.app import DynamoDBEventConfig, EventSourceHandler, SQSEventConfig
from chalice.config import Config
from chalice.local import LocalDevServer

from chalicelib.settings import RESOURCES
from chalicelib.tokens import Scope
from local_cloud import gateway, resources
from local_cloud.clock import SystemClock
from local_cloud.endpoint import HOST, Endpoint, PortInUseError, check_free
from local_cloud.environment import forget_foreign
from local_cloud.event_source_mapping import EventSourceMapping
from local_cloud.functions import FunctionSettings
from local_cloud.pump import Pump
from local_cloud.quota import LimitedRekognition
from local_cloud.recognition import Recogniser
from local_cloud.rekognition import LocalRekognition
from ops.event_sources import of_queue, of_stream

PROJECT = Path(__file__).parent.parent
STAGE = "local"
TOKEN_LIFE = timedelta(days=1)
BY_TRIGGER = {SQSEventConfig: of_queue, DynamoDBEventConfig: of_stream}


class LocalCloud:
    """Made of an endpoint, a pump and an API server, which start and stop together."""

    def __init__(self, recogniser: Recogniser, rate: float, endpoint_port: int, api_port: int) -> None:
        self._recogniser = recogniser
        rekognition = LocalRekognition(self._read_object, recogniser)
        limited = LimitedRekognition(rekognition, rate, SystemClock())
        self._endpoint = Endpoint(endpoint_port, rekognition=limited)
        self._api_port = api_port
        self.token: str | None = None  # there is one if the API asks for it

    def start(self) -> Self:
        """Raises PortInUseError, with nothing left running."""
        check_free(self._api_port)  # it would be late to find out after the rest has started
        self._endpoint.start()
        try:
            self._start_app()
        except BaseException:
            self._endpoint.stop()
            raise
        return self

    def stop(self) -> None:
        self._api.shutdown()
        self._api.server.server_close()
        self._pump.stop()
        self._endpoint.stop()
        self._recogniser.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        return self._endpoint.url

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self._api.server.server_address[1]}"

    def _start_app(self) -> None:
        enter_stage(self.endpoint_url)
        self._session = boto3.Session()
        self._s3 = self._session.client("s3")
        self.outputs = resources.create(self._session, STAGE, PROJECT / ".chalice/resources.yaml")
        os.environ.update({variable: self.outputs[output] for variable, output in RESOURCES.items()})
        module = importlib.import_module("app")  # not before its environment is there
        app = module.app
        if module.settings.api_auth == "token":
            self.token = module.services.tokens.create("make run", Scope, TOKEN_LIFE)
        let_threads_share(app)
        self._api = _serve(app, self._api_port)
        # More functions at once than processors would only make each picture wait for its time-out.
        self._pump = Pump(
            app,
            self._session,
            endpoint_url=self.endpoint_url,
            stage=STAGE,
            concurrency=os.cpu_count() or 1,
            functions=dict.fromkeys(app.handler_map, FunctionSettings(_stage()["lambda_timeout"])),
            mappings=mappings_of(app, self.outputs),
        )
        self._endpoint.on_object_event = self._pump.accept
        self._endpoint.on_write = self._pump.wake
        self._pump.start()

    def _read_object(self, bucket: str, key: str, version_id: str | None) -> bytes | None:
        version: Any = {"VersionId": version_id} if version_id else {}
        try:
            return self._s3.get_object(Bucket=bucket, Key=key, **version)["Body"].read()
        except ClientError:
            return None


def stage_variables() -> dict[str, str]:
    """The environment of the stage `local`, as `chalice local` sets it too."""
    variables: dict[str, str] = _stage()["environment_variables"]
    return variables


def enter_stage(endpoint_url: str) -> None:
    forget_foreign()
    os.environ.update(stage_variables(), AWS_ENDPOINT_URL=endpoint_url, NO_PROXY=HOST, no_proxy=HOST)


def _stage() -> Any:
    return json.loads((PROJECT / ".chalice/config.json").read_text())["stages"][STAGE]


def let_threads_share(app: Chalice) -> None:
    """Chalice hands a function its middleware in a generator, which two first invocations would share out."""
    for handler in app.handler_map.values():
        if isinstance(handler, EventSourceHandler):
            handler.middleware_handlers = list(handler.middleware_handlers)


def mappings_of(app: Chalice, outputs: Mapping[str, str]) -> dict[str, EventSourceMapping]:
    """What `finish` sets of them on AWS."""
    return {
        config.name: EventSourceMapping.of(BY_TRIGGER[type(config)](outputs))
        for config in app.event_sources
        if type(config) in BY_TRIGGER
    }


def _serve(app: Chalice, port: int) -> LocalDevServer:
    try:
        api = gateway.serve(app, Config(chalice_stage=STAGE), HOST, port, gateway.Grants())
    except OSError as error:
        raise PortInUseError(port) from error
    threading.Thread(target=api.server.serve_forever, args=(0.05,), name="api", daemon=True).start()
    return api
