"""Every trigger and every route; what they do stands in chalicelib."""

from typing import Any

from chalice import Chalice, Rate
from chalice.app import AuthRequest, AuthResponse, CloudWatchEvent, Response, SQSEvent

from chalicelib import api, auth, docs, headers, log, openapi, silence
from chalicelib.events import Messages, ObjectsChanged, RowsChanged
from chalicelib.queue import queue_name
from chalicelib.services import Services
from chalicelib.settings import Settings

settings = Settings.from_env()
services = Services(settings)
log.logger.setLevel(settings.log_level)
log.count_access_lost = services.metrics.access_lost

app = Chalice(app_name="image-labeller", configure_logs=False)
app.api.cors = headers.cors(settings.cors_origin)
app.register_middleware(log.tell_requests_apart)
app.register_middleware(silence.bounded, "http")
app.register_middleware(api.log_request, "http")
app.register_middleware(headers.Headers(app.api.cors), "http")
app.register_middleware(api.uniform_answers, "http")
app.register_middleware(auth.Door(app.routes, is_open=settings.api_auth == "open"), "http")


@app.on_s3_event(
    settings.images_bucket,
    events=["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"],
)
def label_uploaded_image(event: ObjectsChanged) -> None:
    services.slow_path.first_try(event.keys, event.context.get_remaining_time_in_millis)


@app.on_sqs_message(
    queue=queue_name(settings.labelling_queue_url),
    batch_size=1,
    maximum_concurrency=settings.labelling_concurrency,
)
def label_queued_image(event: Messages) -> dict[str, Any]:
    milliseconds_left = event.context.get_remaining_time_in_millis
    return event.handled(lambda message: services.slow_path.next_try(message, milliseconds_left))


@app.on_dynamodb_record(stream_arn=settings.images_stream_arn, starting_position="TRIM_HORIZON")
def notify(event: RowsChanged) -> dict[str, Any]:
    return event.handled(services.dispatching.announce, services.stream_dead_letters.send, services.state)


@app.on_dynamodb_record(stream_arn=settings.images_stream_arn, starting_position="TRIM_HORIZON")
def index_image(event: RowsChanged) -> dict[str, Any]:
    return event.handled(services.indexing.index, services.stream_dead_letters.send, services.state)


@app.on_sqs_message(
    queue=queue_name(settings.callbacks_queue_url),
    batch_size=1,
    maximum_concurrency=settings.callback_concurrency,
)
def deliver_callback(event: SQSEvent) -> None:
    for record in event:
        services.delivery.deliver(record.body)


@app.schedule(Rate(1, unit=Rate.MINUTES))
def recover(event: CloudWatchEvent) -> None:
    services.recovery.run(event.context.get_remaining_time_in_millis)


# Chalice makes its events before any middleware runs; its S3Event wants a first record.
label_uploaded_image.event_class = ObjectsChanged
label_queued_image.event_class = Messages
notify.event_class = RowsChanged
index_image.event_class = RowsChanged


@app.authorizer(ttl_seconds=auth.TTL_SECONDS)
def api_token(request: AuthRequest) -> AuthResponse:
    return auth.grant(services.tokens, request.token)


# A route that has an authorizer is closed to requests without the header, whatever the authorizer would say.
by_token = None if settings.api_auth == "open" else api_token


@app.route("/health", methods=["GET"])
@auth.open_to_all
@api.answers
def health() -> Response:
    api.no_parameters(app.current_request)
    return Response({"status": "ok"})


@app.route("/openapi.json", methods=["GET"])
@auth.open_to_all
@api.answers
def describe() -> Response:
    api.no_parameters(app.current_request)
    return Response(openapi.document(app.current_request, app.routes, services.settings.max_upload_bytes))


@app.route("/docs", methods=["GET"])
@auth.open_to_all
@api.answers
def show_description() -> Response:
    api.no_parameters(app.current_request)
    return docs.page(openapi.document(app.current_request, app.routes, services.settings.max_upload_bytes))


@app.route("/images", methods=["POST"], authorizer=by_token)
@auth.require("upload")
@api.answers
def create_upload() -> Response:
    api.no_parameters(app.current_request)
    asked = api.upload_request(app.current_request, services.settings.max_upload_bytes)
    return api.expected_upload(services.uploads.expect(asked.filename, asked.upload))


@app.route("/images", methods=["GET"], authorizer=by_token)
@auth.require("read")
@api.answers
def list_images() -> Response:
    query = api.Query(app.current_request)
    if query.key is not None:
        return query.lookup(services.store.image(query.key, services.now()))
    return query.page(
        services.store.newest(query.statuses, query.after(api.BY_TIME), query.limit + 1, services.now())
    )


@app.route("/images/{image_id}", methods=["GET"], authorizer=by_token)
@auth.require("read")
@api.answers
def get_image(image_id: str) -> Response:
    api.no_parameters(app.current_request)
    image = api.found(services.store.image(api.source_file(image_id), services.now()))
    return api.image(app.current_request, image)


@app.route("/images/{image_id}", methods=["DELETE"], authorizer=by_token)
@auth.require("admin")
@api.answers
def delete_image(image_id: str) -> Response:
    api.no_parameters(app.current_request)
    key = api.source_file(image_id)
    api.found(services.store.image(key, services.now()) or services.bucket.look(key))
    services.wishes.remove(key)
    return api.accepted(key)


@app.route("/images/{image_id}/release", methods=["POST"], authorizer=by_token)
@auth.require("admin")
@api.answers
def release_image(image_id: str) -> Response:
    api.no_parameters(app.current_request)
    key = api.source_file(image_id)
    image = api.found(services.store.image(key, services.now()))
    api.refuse_unless(services.wishes.release(key), api.why_not_released(image))
    return api.accepted(key)


@app.route("/images/{image_id}/relabel", methods=["POST"], authorizer=by_token)
@auth.require("admin")
@api.answers
def relabel_image(image_id: str) -> Response:
    api.no_parameters(app.current_request)
    key = api.source_file(image_id)
    image = services.store.image(key, services.now())
    api.refuse_quarantined(image)
    return api.asked_for(key, image, services.wishes.relabel(key))


@app.route("/images/{image_id}/deliveries", methods=["GET"], authorizer=by_token)
@auth.require("admin")
@api.answers
def list_deliveries(image_id: str) -> Response:
    query, key = api.Query(app.current_request), api.source_file(image_id)
    callbacks = services.callbacks.of_image(key, services.now())
    api.found(callbacks or services.store.image(key, services.now()))
    return query.deliveries(callbacks, query.after(api.BY_DELIVERY))


@app.route("/images/{image_id}/deliveries/{delivery_id}/replay", methods=["POST"], authorizer=by_token)
@auth.require("admin")
@api.answers
def replay_delivery(image_id: str, delivery_id: str) -> Response:
    api.no_parameters(app.current_request)
    key, event_id = api.source_file(image_id), api.event_id(delivery_id)
    return api.replayed(services.dispatching.replay(key, event_id))


@app.route("/images/{image_id}/labels/{label}", methods=["GET"], authorizer=by_token)
@auth.require("read")
@api.answers
def get_image_label(image_id: str, label: str) -> Response:
    api.no_parameters(app.current_request)
    image = api.found(services.store.image(api.source_file(image_id), services.now()))
    return api.label_of(image, api.label_name(label))


@app.route("/labels", methods=["GET"], authorizer=by_token)
@auth.require("read")
@api.answers
def list_labels() -> Response:
    query = api.Query(app.current_request)
    [after] = query.after(api.by_name(query.prefix)) or [""]
    return query.names(services.search.names(query.prefix, after, query.limit + 1))


@app.route("/search", methods=["GET"], authorizer=by_token)
@auth.require("read")
@api.answers
def search_images() -> Response:
    query = api.Query(app.current_request)
    wanted = query.wanted
    return query.hits(services.search.find(wanted, query.place(wanted), query.limit))


@app.route("/labels/{label}/images", methods=["GET"], authorizer=by_token)
@auth.require("read")
@api.answers
def list_images_with_label(label: str) -> Response:
    query = api.Query(app.current_request)
    least = query.min_confidence
    after = query.after(api.by_confidence(least))
    return query.page(services.store.showing(api.label_name(label), least, after, query.limit + 1))
