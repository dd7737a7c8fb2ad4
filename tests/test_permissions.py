from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.exceptions import ClientError
from chalice import Chalice
from chalice.app import AuthResponse

from ops.policies import PolicyDocument
from tests.faults import answering, plan
from tests.permissions import Guard, guarding
from tests.rights import Right

QUERY = Right("dynamodb:Query", "arn:aws:dynamodb:us-east-1:123456789012:table/images")
NOT_GRANTED = f"look may not do dynamodb:Query on {QUERY.resource}"
NOT_SIGNED = "look may not do s3:PutObject on arn:aws:s3:::b/k"
UNKNOWN = "look calls dynamodb.Scan, of which tests/rights.py knows no rights"

Act = Callable[[boto3.Session], object]


def query(session: boto3.Session) -> object:
    condition = {"KeyConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": {"S": "a"}}}
    return session.client("dynamodb").query(TableName="images", **condition)  # type: ignore[arg-type]


def scan(session: boto3.Session) -> object:
    return session.client("dynamodb").scan(TableName="images")


def sign(session: boto3.Session) -> object:
    return session.client("s3").generate_presigned_url("put_object", {"Bucket": "b", "Key": "k"})


def granting(*rights: Right) -> PolicyDocument:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "", "Effect": "Allow", "Action": [action], "Resource": [resource]}
            for action, resource in rights
        ],
    }


@pytest.fixture
def own() -> Iterator[Guard]:
    """A guard of the test's own, whose refusals are no failures."""
    with guarding() as guard:
        yield guard


def run(guard: Guard, act: Act, **policies: PolicyDocument) -> None:
    """Runs it as the function `look` of an app with these policies."""
    session = boto3.Session()
    plan(session.events, "dynamodb", *10 * [answering(200, b'{"Items": []}')])
    app = Chalice("tiny", configure_logs=False)
    app.lambda_function(name="look")(lambda *_: act(session) and None)
    guard.watch(app, lambda: policies)

    app.handler_map["look"]({}, None)


def test_what_the_policy_grants_is_done_and_noted(own: Guard) -> None:
    with own.recording() as used:
        run(own, query, look=granting(QUERY))

    assert used == {"look": {QUERY}}
    assert own.refused == []


@pytest.mark.parametrize(
    ("act", "policies", "why"),
    [
        pytest.param(query, {"look": granting()}, NOT_GRANTED, id="query"),
        pytest.param(sign, {"look": granting(QUERY)}, NOT_SIGNED, id="signing"),
        pytest.param(query, {"notify": granting(QUERY)}, "look has no policy", id="another function's right"),
        pytest.param(scan, {"look": granting(Right("*", "*"))}, UNKNOWN, id="an operation that is not known"),
    ],
)
def test_what_no_policy_grants_fails_at_once_and_is_noted(
    act: Act, policies: dict[str, PolicyDocument], why: str, own: Guard
) -> None:
    with pytest.raises(ClientError) as raised:
        run(own, act, **policies)

    assert raised.value.response["Error"] == {"Code": "AccessDenied", "Message": why}
    assert own.refused == [why]


def test_what_a_function_hands_to_other_threads_is_done_in_its_name(own: Guard) -> None:
    def in_a_thread(session: boto3.Session) -> object:
        with ThreadPoolExecutor() as pool:
            return pool.submit(query, session).result()

    with own.recording() as used:
        run(own, in_a_thread, look=granting(QUERY))

    assert used == {"look": {QUERY}}


def test_what_happens_outside_of_a_function_is_nobodys(own: Guard) -> None:
    run(own, query, look=granting(QUERY))

    with own.recording() as used:
        sign(boto3.Session())

    assert used == {}
    assert own.refused == []


def test_a_route_and_an_authorizer_are_functions_too(own: Guard) -> None:
    app = Chalice("tiny", configure_logs=False)

    def token(_: object) -> AuthResponse:
        sign(boto3.Session())
        return AuthResponse([], "")

    authorize = app.authorizer()(token)
    app.route("/", authorizer=authorize)(lambda: sign(boto3.Session()))
    right = Right("s3:PutObject", "arn:aws:s3:::b/k")
    own.watch(app, lambda: {"api_handler": granting(right), "token": granting(right)})
    request = {
        "requestContext": {"httpMethod": "GET", "resourcePath": "/"},
        "headers": {},
        "multiValueQueryStringParameters": None,
        "pathParameters": {},
        "stageVariables": {},
        "body": "",
        "isBase64Encoded": False,
    }

    with own.recording() as used:
        authorize({"type": "TOKEN", "authorizationToken": "", "methodArn": "a:b:c:d:e:f/g/h"}, None)
        answer = app(request, None)

    assert answer["statusCode"] == 200
    assert used == {"api_handler": {right}, "token": {right}}
