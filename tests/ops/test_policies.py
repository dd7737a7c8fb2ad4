import json
import secrets
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import boto3
import pytest
from chalice import Chalice

from chalicelib.callback import LONGEST
from chalicelib.callback_url import CallbackRules
from chalicelib.dispatching import Dispatching
from chalicelib.errors import Throttled
from chalicelib.exchange import Limits
from chalicelib.indexing import Indexing
from chalicelib.model import image_id
from chalicelib.notifications import keys_of, notification_of
from chalicelib.services import Services
from chalicelib.tokens import Scope
from chalicelib.webhook import Webhook
from local_cloud import resources
from local_cloud.endpoint import Endpoint
from local_cloud.object_events import ObjectEvent
from ops.policies import PolicyDocument, render
from ops.problems import Problem
from tests.api_client import ApiClient
from tests.lambda_events import SCHEDULED, changes, context, received
from tests.permissions import TEMPLATE, Guard, Policies, Used, policies_of, values_of
from tests.pictures import ENCODERS, UPRIGHT, picture, quarters
from tests.receivers import OK, answer, receiver, silent
from tests.rights import TRACING, Right, allows, covers, functions, grants, implied, lacking, unused
from tests.scripted_rekognition import LABELS, MODERATION, ScriptedRekognition

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LABELLING = {"label_uploaded_image", "label_queued_image"}  # the functions that look at pictures
WITHOUT_RESOURCES = {
    **dict.fromkeys(
        ("rekognition:DetectLabels", "rekognition:DetectModerationLabels", "rekognition:DetectText"),
        "a detector looks at any picture that its caller can read",
    ),
    "xray:PutTelemetryRecords": "X-Ray has no resources to send to",
    "xray:PutTraceSegments": "X-Ray has no resources to send to",
}
METHOD = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/dev/GET/images"
MAX_CHARACTERS = 10_240  # of a role's inline policies, white space aside
VALUES = {"Stage": "dev", "Partition": "aws", "Table": "images", "Empty": "", "Odd": "${Table}"}
SMALL = """
every_function: {Log: {actions: ["logs:PutLogEvents"], resources: ["log/${Function}"]}}
with_xray: {Traces: {actions: ["xray:PutTraceSegments"], resources: ["*"]}}
functions:
  api_handler: {Read: {actions: ["dynamodb:GetItem"], resources: ["arn:${Partition}:${Table}"]}}
  notify: {Read: {actions: ["dynamodb:Query"], resources: ["${Table}/a", "${Table}/b"]}}
"""


def throttled(*_: object) -> None:
    raise Throttled("slower")


@dataclass(frozen=True)
class Deployment:
    """The app on resources of this test's own, used in every way that takes another right."""

    api: ApiClient
    s3: "S3Client"
    services: Services
    app: ModuleType
    rekognition: ScriptedRekognition
    records: list[ObjectEvent] = field(default_factory=list)

    @property
    def bucket(self) -> str:
        return self.services.bucket.name

    def put(self, key: str, body: bytes, storage_class: str = "STANDARD") -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, StorageClass=storage_class)  # type: ignore[arg-type]

    def deliver(self) -> None:
        event = {"Records": [*self.records]}
        self.records.clear()
        self.app.label_uploaded_image(event, context())

    def deliver_by_the_queue(self) -> None:
        for key in keys_of({"Records": [*self.records]}):
            self.services.labelling_queue.ask_for(key)
            self.take_up()
        self.records.clear()

    def take_up(self) -> None:
        while (event := received(self.services.settings.labelling_queue_url))["Records"]:
            self.app.label_queued_image(event, context())

    def label(self) -> None:
        for number, deliver in enumerate((self.deliver, self.deliver_by_the_queue), start=1):
            self.label_and_remove(deliver, number)
            del self.rekognition.answers[MODERATION]
            self.hide(deliver)

    def label_and_remove(self, deliver: Callable[[], None], number: int) -> None:
        """Pictures that nobody has seen before, by a model that nobody has seen before."""
        answer = {"ModerationLabels": [], "ModerationModelVersion": str(10 + number)}
        self.rekognition.answers[MODERATION] = answer
        self.put("dog.png", picture("Dog 90", f"Cat {80 + number}"))
        self.put("dog.webp", ENCODERS["image/webp"](quarters(UPRIGHT[number:] + UPRIGHT[:number])))
        self.put("empty.png", b"")
        self.put("archived.png", picture("Dog 90"), storage_class="GLACIER")
        again = [*self.records]
        deliver()
        self.records.extend(again)
        deliver()
        self.put("dog.png", picture("Dog 90"))
        deliver()
        self.s3.delete_object(Bucket=self.bucket, Key="dog.webp")
        deliver()

    def hide(self, deliver: Callable[[], None]) -> None:
        """Out of sight, back again, away for good, and replaced."""
        flagged = picture("Graphic Violence 99")
        self.put("bad.png", flagged)
        deliver()
        self.api.post("images", image_id("bad.png"), "release")
        self.s3.delete_object(Bucket=self.bucket, Key="bad.png")  # nothing new, but a reason to look
        deliver()
        deliver()
        self.take_up()
        self.put("bad.png", flagged)
        deliver()
        self.put("bad.png", picture("Dog 90"))
        deliver()
        self.put("bad.png", flagged)
        deliver()
        self.api.delete("images", image_id("bad.png"))
        deliver()

    def fail(self) -> None:
        self.put("late.png", picture("Late 90"))
        self.rekognition.failures[LABELS] += [(400, "AccessDeniedException")] * 2
        self.deliver()
        self.services.labelling_queue.ask_for("late.png")
        self.take_up()

    def hand_over(self) -> None:
        """A message that asks for several, and no time for the second."""
        records = [record for key in ("dog.png", "late.png") for record in notification_of(key)["Records"]]
        self.services.labelling_queue.queue.send(json.dumps({"Records": records}))
        event = received(self.services.settings.labelling_queue_url)
        self.app.label_queued_image(event, context(seconds=0))

    def relabel(self) -> None:
        self.api.post("images", image_id("dog.png"), "relabel")
        self.take_up()

    def recover(self) -> None:
        """What somebody died at a while ago, and a row whose object is gone."""
        later = replace(self.services.recovery, now=lambda: self.services.now() + timedelta(hours=1))
        self.put("died.png", picture("Dog 90"))
        found = self.services.bucket.look("died.png")
        assert found is not None
        self.services.claims.claim(found, "dead run", None, self.services.now(), 130)
        vars(self.services)["recovery"] = later
        self.app.recover(SCHEDULED, context())

    def call_back(self) -> None:
        """To a receiver that hangs at first, answers then, and wants no more at last."""
        with receiver(silent, OK, answer(410)) as served:
            for _ in range(3):
                self.announce(served.url)
                self.app.deliver_callback(received(self.services.settings.callbacks_queue_url), context())
        self.announce("https://example.com/hook")
        self.app.recover(SCHEDULED, context())
        self.give_up()
        self.replay()

    def announce(self, url: str) -> None:
        settings = self.services.settings
        vars(self.services)["dispatching"] = replace(self.services.dispatching, url=url)
        self.put("dog.png", picture("Dog 90"))
        self.deliver()
        self.app.notify(changes(settings.images_stream_arn), context())

    def index(self) -> None:
        """What is new, another answer, and what is gone."""
        for labels in (("Dog 90",), ("Cat 90",)):
            self.put("dog.png", picture(*labels))
            self.deliver()
            self.app.index_image(changes(self.services.settings.images_stream_arn), context())

    def survive(self) -> None:
        """What comes late and cannot be done for now."""
        [change, *_] = changes(self.services.settings.images_stream_arn)["Records"]
        change["dynamodb"]["ApproximateCreationDateTime"] = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Dispatching, "announce", throttled)
            patch.setattr(Indexing, "index", throttled)
            for function in (self.app.notify, self.app.index_image):
                function({"Records": [change]}, context())

    def give_up(self) -> None:
        later = replace(self.services.delivery, now=lambda: self.services.now() + LONGEST)
        vars(self.services)["delivery"] = later
        self.app.deliver_callback(received(self.services.settings.callbacks_queue_url), context())

    def replay(self) -> None:
        path = "images", image_id("dog.png"), "deliveries"
        [delivery, *_] = self.api.get(*path).body["items"]
        self.api.post(*path, delivery["delivery_id"], "replay")

    def check_token(self) -> None:
        token = self.services.tokens.create("reader", [Scope.READ], timedelta(days=1))
        request = {"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": METHOD}
        self.app.api_token(request, context())

    def ask(self) -> None:
        self.api.post("images", body={"filename": "dog.png"})
        self.api.get("images")
        self.api.get("images", key="dog.png")
        self.api.get("images", image_id("dog.png"))
        self.api.get("images", image_id("dog.png"), "labels", "dog")
        self.api.get("labels", "dog", "images")
        self.api.get("labels")
        self.api.get("search", label="dog", text="ta*")

    def delete(self) -> None:
        self.put("unlabelled.png", picture("Dog 90"))
        self.put("cold.png", picture("Dog 90"), storage_class="GLACIER")
        for key in ("dog.png", "unlabelled.png", "cold.png", "none.png"):
            self.api.delete("images", image_id(key))
        self.deliver()


@pytest.fixture
def services(thrifty: Services) -> Services:
    services = Services(replace(thrifty.settings, moderation="quarantine"))
    context, limits = ssl.create_default_context(), Limits(connect=0.3, total=0.3)
    webhook = Webhook(CallbackRules(loopback=True), services.now, context, limits)
    vars(services)["webhook"] = webhook
    return services


@pytest.fixture
def deployment(
    api: ApiClient,
    services: Services,
    s3: "S3Client",
    app_module: ModuleType,
    endpoint: Endpoint,
    rekognition: ScriptedRekognition,
    monkeypatch: pytest.MonkeyPatch,
) -> Deployment:
    deployment = Deployment(api, s3, services, app_module, rekognition)
    monkeypatch.setattr(endpoint, "on_object_event", deployment.records.append)
    return deployment


@pytest.fixture(scope="module")
def stages(session: boto3.Session, template: str) -> tuple[Policies, Policies]:
    """The policies of two stages, the second of which has the longest name and begins with the first's."""
    short = f"t{secrets.token_hex(6)}"
    long = f"{short}zz"
    for name in (short, long):
        resources.create(session, name, template)
    return with_tracing(short), with_tracing(long)


@pytest.fixture
def policies(services: Services) -> Policies:
    return policies_of(services.settings.stage)


@dataclass(frozen=True)
class Usage:
    """What each function of a stage may do, and what it does."""

    policies: Policies
    used: Used
    table: str


@pytest.fixture(scope="module")
def observed() -> list[Usage]:
    return []


@pytest.fixture
def usage(observed: list[Usage], request: pytest.FixtureRequest) -> Usage:
    """Of one stage for all tests: it takes a while to use every right."""
    if not observed:
        services, used = request.getfixturevalue("services"), request.getfixturevalue("used")
        observed.append(Usage(policies_of(services.settings.stage), used, services.settings.images_table))
    return observed[0]


@pytest.fixture
def used(deployment: Deployment, services: Services, app_module: ModuleType, guard: Guard) -> Used:
    """Every right that each function uses, by its own calls or in those that Lambda makes for it."""
    app, values = app_module.app, values_of(services.settings.stage)
    with guard.recording() as recorded:
        deployment.label()
        deployment.relabel()
        deployment.check_token()
        deployment.fail()
        deployment.hand_over()
        deployment.recover()
        deployment.call_back()
        deployment.index()
        deployment.survive()
        deployment.ask()
        deployment.delete()
    return {name: recorded[name] | implied(app, name, values) for name in functions(app)}


def every_grant(policies: Policies) -> set[tuple[str, Right]]:
    return {(name, grant) for name, policy in policies.items() for grant in grants(policy)}


def policy_of(*rights: Right) -> PolicyDocument:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": f"Right{number}", "Effect": "Allow", "Action": [action], "Resource": [resource]}
            for number, (action, resource) in enumerate(rights)
        ],
    }


def with_tracing(stage: str) -> Policies:
    return render(TEMPLATE.read_text(), values_of(stage), xray=True)


def linted(policies: Policies, folder: Path) -> str:
    """What cfn-lint, which knows all actions of AWS and what they apply to, says about the policies."""
    roles = {
        name.replace("_", ""): {
            "Type": "AWS::IAM::RolePolicy",
            "Properties": {"RoleName": name, "PolicyName": name, "PolicyDocument": policy},
        }
        for name, policy in policies.items()
    }
    template = folder / "policies.json"
    template.write_text(json.dumps({"Resources": roles}))
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--include-checks", "I", "--", str(template)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_policy_is_what_every_function_may_do_and_what_this_one_may() -> None:
    policies = render(SMALL, VALUES)

    assert policies == {
        "api_handler": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "Log",
                    "Effect": "Allow",
                    "Action": ["logs:PutLogEvents"],
                    "Resource": ["log/image-labeller-dev"],
                },
                {
                    "Sid": "Read",
                    "Effect": "Allow",
                    "Action": ["dynamodb:GetItem"],
                    "Resource": ["arn:aws:images"],
                },
            ],
        },
        "notify": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "Log",
                    "Effect": "Allow",
                    "Action": ["logs:PutLogEvents"],
                    "Resource": ["log/image-labeller-dev-notify"],
                },
                {
                    "Sid": "Read",
                    "Effect": "Allow",
                    "Action": ["dynamodb:Query"],
                    "Resource": ["images/a", "images/b"],
                },
            ],
        },
    }


def test_tracing_takes_one_statement_more() -> None:
    plain, traced = render(SMALL, VALUES), render(SMALL, VALUES, xray=True)

    added = {
        name: [each for each in traced[name]["Statement"] if each not in plain[name]["Statement"]]
        for name in plain
    }
    statement = {
        "Sid": "Traces",
        "Effect": "Allow",
        "Action": ["xray:PutTraceSegments"],
        "Resource": ["*"],
    }
    assert added == {"api_handler": [statement], "notify": [statement]}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        pytest.param("${Table}/a", "${Tabel}/a", "There is no Tabel to put into '${Tabel}/a'", id="unknown"),
        pytest.param("${Table}/a", "${Empty}/a", "There is no Empty to put into '${Empty}/a'", id="empty"),
        pytest.param("${Table}/a", "${Table/a", "'${Table/a' has an odd placeholder", id="not closed"),
        pytest.param("${Table}/a", "${aws:user}", "'${aws:user}' has an odd placeholder", id="IAM's own"),
        pytest.param("${Table}/a", "${Odd}", "'${Table}' has a placeholder left", id="in a value"),
        pytest.param("notify: {", "notify: {}\n  x: {", "The policy of notify", id="no rights"),
        pytest.param('["${Table}/a", "${Table}/b"]', "[]", "The policy of notify", id="no resource"),
        pytest.param('["dynamodb:Query"]', "Query", "The policy of notify", id="no list"),
        pytest.param("{Log: {actions", "{Log: {Actions", "The template of the policies", id="misspelt"),
        pytest.param("functions:", "function:", "The template of the policies", id="no functions"),
        pytest.param("functions:", "functions: [", "The template of the policies", id="no YAML"),
    ],
)
def test_a_template_that_cannot_be_used_is_a_problem_that_says_why(old: str, new: str, why: str) -> None:
    assert old in SMALL

    with pytest.raises(Problem) as raised:
        render(SMALL.replace(old, new), VALUES)

    assert raised.value.message.startswith(why)


def test_every_function_of_the_app_has_a_policy(app_module: ModuleType, policies: Policies) -> None:
    assert set(functions(app_module.app)) == set(policies)


def test_a_function_without_a_policy_is_found(policies: Policies) -> None:
    app = Chalice("tiny", configure_logs=False)
    app.lambda_function(name="forgotten")(print)

    assert set(functions(app)) - set(policies) == {"forgotten"}


@pytest.mark.thorough
def test_no_function_lacks_a_right_or_has_one_that_nothing_uses(usage: Usage) -> None:
    policies, used = usage.policies, usage.used

    missing = {name: lacking(policies[name], used[name]) for name in policies}
    idle = {name: unused(policies[name], used[name]) for name in policies}

    assert missing == idle == {name: set() for name in policies}


@pytest.mark.thorough
def test_every_right_would_be_missed(usage: Usage) -> None:
    not_missed = [
        (name, grant)
        for name, policy in usage.policies.items()
        for grant in grants(policy)
        if not lacking(policy_of(*grants(policy) - {grant}), usage.used[name])
    ]

    assert not_missed == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        pytest.param("dynamodb:Scan", "arn:aws:dynamodb:us-east-1:123456789012:table/{table}", id="action"),
        pytest.param("dynamodb:Query", "arn:aws:dynamodb:us-east-1:123456789012:table/other", id="table"),
        pytest.param("s3:GetObject", "arn:aws:s3:::another/*", id="bucket"),
    ],
)
def test_a_right_that_nothing_uses_is_found(action: str, resource: str, usage: Usage) -> None:
    right = Right(action, resource.format(table=usage.table))

    found = {
        name: unused(policy_of(*grants(policy), right), usage.used[name])
        for name, policy in usage.policies.items()
    }

    assert found == {name: {right} for name in usage.policies}


def test_tracing_grants_what_tracing_takes(services: Services) -> None:
    plain, traced = policies_of(services.settings.stage), with_tracing(services.settings.stage)

    added = {name: grants(traced[name]) - grants(plain[name]) for name in plain}

    assert added == dict.fromkeys(plain, TRACING)


def test_only_what_labels_can_call_rekognition(policies: Policies) -> None:
    able = {
        name
        for name, policy in policies.items()
        if any(grant.action.lower().startswith(("rekognition:", "*")) for grant in grants(policy))
    }

    assert able == LABELLING


def test_what_talks_to_strangers_reaches_no_picture(policies: Policies) -> None:
    services = {grant.action.partition(":")[0] for grant in grants(policies["deliver_callback"])}

    assert services == {"dynamodb", "logs", "secretsmanager", "sqs"}


def test_the_api_can_sign_for_nothing_but_new_uploads(policies: Policies, services: Services) -> None:
    bucket = f"arn:aws:s3:::{services.bucket.name}"
    keys = {"uploads/1/dog.png": True, "dog.png": False, "uploads": False, "other/uploads/1/dog.png": False}

    allowed = {key: allows(policies["api_handler"], Right("s3:PutObject", f"{bucket}/{key}")) for key in keys}

    assert allowed == keys


def test_no_action_has_a_wildcard_and_no_resource_but_at_its_end(stages: tuple[Policies, Policies]) -> None:
    for name, grant in every_grant(stages[0]):
        bare = grant.resource.removesuffix("/*").removesuffix(":*")

        assert not set("*?") & set(grant.action), (name, grant)
        assert not set("*?") & set(bare) or grant == Right(grant.action, "*"), (name, grant)


def test_everything_is_granted_only_where_there_is_nothing_to_name(stages: tuple[Policies, Policies]) -> None:
    for_everything = {grant.action for _, grant in every_grant(stages[0]) if grant.resource == "*"}

    assert for_everything == set(WITHOUT_RESOURCES)


def test_a_stage_has_no_right_in_another(stages: tuple[Policies, Policies]) -> None:
    mine, others = (
        {grant for _, grant in every_grant(policies) if grant.resource != "*"} for policies in stages
    )

    assert [(grant, other) for grant in mine for other in others if covers(grant, other)] == []
    assert [(grant, other) for grant in others for other in mine if covers(grant, other)] == []


def test_aws_takes_the_policies(stages: tuple[Policies, Policies], tmp_path: Path) -> None:
    policies = stages[1]

    for policy in policies.values():
        names = [statement["Sid"] for statement in policy["Statement"]]
        assert len(names) == len(set(names))
        assert all(name.isascii() and name.isalnum() for name in names)
        assert len(json.dumps(policy, separators=(",", ":"))) <= MAX_CHARACTERS
    assert linted(policies, tmp_path) == ""


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        pytest.param("s3:HeadObject", "arn:aws:s3:::bucket/*", id="action"),
        pytest.param("s3:ListBucket", "arn:aws:sqs:us-east-1:123456789012:queue", id="resource"),
    ],
)
def test_a_right_that_aws_does_not_know_would_be_found(action: str, resource: str, tmp_path: Path) -> None:
    found = linted({"notify": policy_of(Right(action, resource))}, tmp_path)

    assert action.removeprefix("s3:").lower() in found.lower()
