"""The template of what Chalice does not make: CloudFormation takes it, and it keeps its promises."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from awscli.customizations.cloudformation.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from chalicelib.metrics import Metrics
from chalicelib.model import Upload
from chalicelib.services import Services
from chalicelib.settings import MAX_LABEL_TIMEOUT
from ops.stream_letters import READERS
from tests.conftest import LOCAL, ROOT

PATH = ROOT / ".chalice/resources.yaml"
TEMPLATE = yaml_parse(PATH.read_text())
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
NAMES = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SecretsManager::Secret": "Name",
}
NAMELESS = {"AWS::S3::BucketPolicy", "AWS::SNS::Subscription", "AWS::SQS::QueuePolicy"}
LONGEST = {
    "AWS::CloudWatch::Alarm": 255,
    "AWS::CloudWatch::Dashboard": 255,
    "AWS::DynamoDB::Table": 255,
    "AWS::S3::Bucket": 63,
    "AWS::SNS::Topic": 256,
    "AWS::SQS::Queue": 80,
    "AWS::SecretsManager::Secret": 512,
}
DEFAULTS = {name: str(slot.get("Default")) for name, slot in TEMPLATE["Parameters"].items()}
DATA = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"}
CALLBACK_TIMEOUT = timedelta(seconds=60)


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: definition["Properties"] for name, definition in RESOURCES.items() if definition["Type"] == kind
    }


BUCKETS = of_type("AWS::S3::Bucket")
TABLES = of_type("AWS::DynamoDB::Table")
QUEUES = of_type("AWS::SQS::Queue")
ALARMS = of_type("AWS::CloudWatch::Alarm")
NAMED = [name for name, definition in RESOURCES.items() if definition["Type"] not in NAMELESS]


def filled(value: Any, **values: str) -> str:
    """A text of the template, with the stage and the account filled in."""
    known = {
        **DEFAULTS,
        "Stage": "dev",
        "AWS::AccountId": "123456789012",
        "AWS::Region": "us-east-1",
        **values,
    }
    if isinstance(value, dict) and "Ref" in value:
        return known[value["Ref"]]
    text = value["Fn::Sub"] if isinstance(value, dict) else value
    return re.sub(r"\$\{(.+?)\}", lambda found: known[found[1]], text)


def name_of(resource: str, **values: str) -> str:
    definition = RESOURCES[resource]
    return filled(definition["Properties"][NAMES[definition["Type"]]], **values)


def test_cloudformation_takes_it() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(PATH)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout + done.stderr == ""


def test_it_asks_only_for_the_stage() -> None:
    defaults = {name: slot.get("Default") for name, slot in TEMPLATE["Parameters"].items()}

    assert defaults == {
        "Stage": None,
        "AlarmEmail": "",
        "DailyBudget": 0,
        "ApiRateLimit": 50,
        "ApiBurstLimit": 100,
        "UploadOrigins": "*",
    }


def test_its_outputs_are_these() -> None:
    assert set(TEMPLATE["Outputs"]) == {
        "ImagesBucket",
        "QuarantineBucket",
        "DerivedBucket",
        "ImagesTable",
        "ImagesStreamArn",
        "TermsTable",
        "StateTable",
        "LabellingQueueUrl",
        "LabellingQueueArn",
        "LabellingDeadLettersUrl",
        "LabellingDeadLettersArn",
        "CallbacksQueueUrl",
        "CallbacksQueueArn",
        "CallbacksDeadLettersUrl",
        "CallbacksDeadLettersArn",
        "StreamDeadLettersUrl",
        "StreamDeadLettersArn",
        "SigningSecretArn",
        "AlarmTopicArn",
        "ApiRateLimit",
        "ApiBurstLimit",
    }


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [("dev", True), ("d2", True), ("a" * 15, True), ("a" * 16, False), ("2d", False), ("Dev", False)],
)
def test_a_stage_is_a_short_word_without_a_dash(stage: str, allowed: bool) -> None:
    pattern = TEMPLATE["Parameters"]["Stage"]["AllowedPattern"]

    assert (re.fullmatch(pattern, stage) is not None) is allowed


@pytest.mark.parametrize("resource", NAMED)
def test_every_name_carries_the_stage(resource: str) -> None:
    one, other = (name_of(resource, Stage=stage) for stage in ("one", "other"))

    assert "one" in one
    assert one.replace("one", "other") == other


@pytest.mark.parametrize("resource", NAMED)
def test_no_name_is_too_long_for_the_longest_stage(resource: str) -> None:
    name = name_of(resource, Stage="s" * 15, **{"AWS::Region": "ap-southeast-1"})

    assert len(name) <= LONGEST[RESOURCES[resource]["Type"]]


def test_no_two_resources_of_a_type_share_a_name() -> None:
    names = [(RESOURCES[resource]["Type"], name_of(resource)) for resource in NAMED]

    assert len(set(names)) == len(names)


def test_the_local_stage_names_what_the_template_makes() -> None:
    made = {name: name_of(resource, Stage="local") for name, resource in VARIABLES.items()}

    assert made == {name: LOCAL[name] for name in VARIABLES}


VARIABLES = {
    "IMAGES_BUCKET": "ImageBucket",
    "QUARANTINE_BUCKET": "QuarantineBucket",
    "IMAGES_TABLE": "ImagesTable",
    "TERMS_TABLE": "TermsTable",
    "STATE_TABLE": "StateTable",
}


def test_data_is_kept_when_the_stack_goes_and_nothing_else_is() -> None:
    kept = {name for name, each in RESOURCES.items() if "Retain" in each.get("DeletionPolicy", "")}
    replaced = {name for name, each in RESOURCES.items() if each.get("UpdateReplacePolicy") == "Retain"}

    assert kept == replaced == {name for name, each in RESOURCES.items() if each["Type"] in DATA}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_is_closed_encrypted_and_tidied(bucket: str) -> None:
    properties = BUCKETS[bucket]

    [rule] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    [tidying] = properties["LifecycleConfiguration"]["Rules"]
    assert tidying["Status"] == "Enabled"
    assert tidying["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_only_pictures_have_versions_and_old_ones_end() -> None:
    versioned = {name for name, each in BUCKETS.items() if "VersioningConfiguration" in each}
    [rule] = BUCKETS["ImageBucket"]["LifecycleConfiguration"]["Rules"]

    assert versioned == {"ImageBucket"}
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rule["ExpiredObjectDeleteMarker"] is True


@pytest.mark.parametrize(
    ("kind", "guarded", "target"),
    [("AWS::S3::BucketPolicy", BUCKETS, "Bucket"), ("AWS::SQS::QueuePolicy", QUEUES, "Queues")],
    ids=["buckets", "queues"],
)
def test_everything_refuses_what_is_not_encrypted_in_transit(
    kind: str, guarded: dict[str, Any], target: str
) -> None:
    policies = of_type(kind).values()

    targets = [each[target] for each in policies]
    refs = [ref["Ref"] for entry in targets for ref in (entry if isinstance(entry, list) else [entry])]
    assert sorted(refs) == sorted(guarded)
    for policy in policies:
        [statement] = policy["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_the_policy_of_a_bucket_covers_it_and_what_is_in_it() -> None:
    for policy in of_type("AWS::S3::BucketPolicy").values():
        [statement] = policy["PolicyDocument"]["Statement"]
        bucket = policy["Bucket"]["Ref"]

        assert statement["Action"] == "s3:*"
        assert statement["Resource"] == [
            {"Fn::GetAtt": [bucket, "Arn"]},
            {"Fn::Sub": f"${{{bucket}.Arn}}/*"},
        ]


def test_a_page_may_send_every_header_that_an_upload_needs(services: Services) -> None:
    upload = Upload("image/png", 3, "00" * 32, {"album": "summer"})
    [rule] = BUCKETS["ImageBucket"]["CorsConfiguration"]["CorsRules"]

    headers = {name.lower() for name in services.bucket.presign_upload("a", upload, 60).headers}

    set_by_the_browser = {"content-length"}
    assert {
        header
        for header in headers - set_by_the_browser
        if not any(fnmatch(header, allowed) for allowed in rule["AllowedHeaders"])
    } == set()
    assert rule["AllowedMethods"] == ["PUT"]
    assert rule["AllowedOrigins"] == {"Ref": "UploadOrigins"}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_costs_by_use_forgets_in_time_and_can_be_restored(table: str) -> None:
    properties = TABLES[table]

    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_a_message_is_not_seen_again_before_its_function_has_had_six_times_its_time() -> None:
    visibility = {name: timedelta(seconds=each.get("VisibilityTimeout", 30)) for name, each in QUEUES.items()}

    assert visibility["LabellingQueue"] >= 6 * timedelta(seconds=MAX_LABEL_TIMEOUT)
    assert visibility["CallbacksQueue"] >= 6 * CALLBACK_TIMEOUT


@pytest.mark.parametrize("queue", ["Labelling", "Callbacks"])
def test_what_fails_for_good_is_kept_where_only_its_own_queue_may_put_it(queue: str) -> None:
    source, dead_letters = QUEUES[f"{queue}Queue"], QUEUES[f"{queue}DeadLetters"]

    assert source["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": [f"{queue}DeadLetters", "Arn"]}
    assert source["RedrivePolicy"]["maxReceiveCount"] >= 5
    [allowed] = dead_letters["RedriveAllowPolicy"]["sourceQueueArns"]
    assert filled(allowed, **{"AWS::Partition": "aws"}).endswith(f":123456789012:{name_of(f'{queue}Queue')}")
    assert dead_letters["MessageRetentionPeriod"] > source["MessageRetentionPeriod"]


def test_dead_letters_are_kept_for_fourteen_days() -> None:
    kept = {name: each["MessageRetentionPeriod"] for name, each in QUEUES.items() if "DeadLetters" in name}

    assert kept == dict.fromkeys(DEAD_LETTERS, timedelta(days=14).total_seconds())


DEAD_LETTERS = ("LabellingDeadLetters", "CallbacksDeadLetters", "StreamDeadLetters")


def test_every_queue_is_encrypted_and_says_whose_dead_letters_it_takes() -> None:
    for properties in QUEUES.values():
        assert properties["SqsManagedSseEnabled"] is True
        assert properties["RedriveAllowPolicy"]["redrivePermission"] in ("byQueue", "denyAll")


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_tells_the_topic_and_not_that_there_is_nothing_to_tell(alarm: str) -> None:
    properties = ALARMS[alarm]

    assert properties["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    assert properties["TreatMissingData"] == NOTHING_TOLD.get(alarm, "notBreaching")


NOTHING_TOLD = {
    "LabellingDeadLettersAlarm": "ignore",
    "CallbacksDeadLettersAlarm": "ignore",
    "StreamDeadLettersAlarm": "ignore",
    "RecoverySilentAlarm": "breaching",
}


def watched(alarm: str) -> Iterator[tuple[str, str, str, int]]:
    """What an alarm looks at: the metric's name, the value of its last dimension, statistic and period."""
    properties = ALARMS[alarm]
    stats = [query["MetricStat"] for query in properties.get("Metrics", []) if "MetricStat" in query]
    for stat in stats or [
        {"Metric": properties, "Stat": properties["Statistic"], "Period": properties["Period"]}
    ]:
        metric = stat["Metric"]
        value = metric["Dimensions"][-1]["Value"]
        subject = value["Fn::GetAtt"][0] if "Fn::GetAtt" in value else filled(value)
        yield metric["MetricName"], subject, stat["Stat"], stat["Period"]


def test_anything_in_a_dead_letter_queue_is_an_alarm() -> None:
    alarms = [alarm for alarm in ALARMS if alarm.endswith("DeadLettersAlarm")]

    looks = [look for alarm in alarms for look in watched(alarm)]
    assert looks == [("ApproximateNumberOfMessagesVisible", queue, "Maximum", 300) for queue in DEAD_LETTERS]
    assert {ALARMS[alarm]["Threshold"] for alarm in alarms} == {0}


@pytest.mark.parametrize(
    ("alarm", "queue"), [("LabellingAgeAlarm", "LabellingQueue"), ("CallbacksAgeAlarm", "CallbacksQueue")]
)
def test_a_queue_that_nobody_empties_is_an_alarm(alarm: str, queue: str) -> None:
    assert list(watched(alarm)) == [("ApproximateAgeOfOldestMessage", queue, "Maximum", 300)]


def test_a_stream_that_stands_still_is_an_alarm_long_before_its_changes_are_given_up() -> None:
    alarm = ALARMS["StreamAgeAlarm"]

    assert list(watched("StreamAgeAlarm")) == [
        ("IteratorAge", f"image-labeller-dev-{reader}", "Maximum", 300) for reader in READERS
    ]
    assert timedelta(milliseconds=alarm["Threshold"]) == timedelta(minutes=15)
    assert alarm["DatapointsToAlarm"] == 1


def test_a_recovery_that_nobody_calls_is_an_alarm() -> None:
    alarm = ALARMS["RecoverySilentAlarm"]

    assert list(watched("RecoverySilentAlarm")) == [
        ("Invocations", "image-labeller-dev-recover", "Sum", 300),
    ]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert timedelta(seconds=alarm["EvaluationPeriods"] * 300) == timedelta(minutes=15)


def test_access_that_whichever_function_lost_is_an_alarm_within_minutes(
    counting: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Metrics("dev").access_lost()

    line = json.loads(capsys.readouterr().out)
    [described] = line["_aws"]["CloudWatchMetrics"]
    alarm = ALARMS["AccessLostAlarm"]
    dimensions = {each["Name"]: filled(each["Value"]) for each in alarm["Dimensions"]}
    assert (alarm["Namespace"], dimensions) == (
        described["Namespace"],
        {name: line[name] for name in described["Dimensions"][0]},
    )
    assert list(watched("AccessLostAlarm")) == [(described["Metrics"][0]["Name"], "dev", "Sum", 60)]
    assert (alarm["DatapointsToAlarm"], alarm["Threshold"]) == (1, 0)


def functions(app_module: ModuleType) -> set[str]:
    """As Chalice names them on the stage dev: all routes are one function."""
    app = app_module.app
    others = [*app.event_sources, *app.pure_lambda_functions, *app.builtin_auth_handlers]
    return {"image-labeller-dev", *(f"image-labeller-dev-{function.name}" for function in others)}


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_errors_and_throttles_of_every_function_are_an_alarm(app_module: ModuleType, metric: str) -> None:
    looks = list(watched(f"Function{metric}Alarm"))

    assert {function for _, function, _, _ in looks} == functions(app_module)
    assert {(name, stat, period) for name, _, stat, period in looks} == {(metric, "Sum", 300)}


@pytest.mark.parametrize("alarm", [name for name, each in ALARMS.items() if "Metrics" in each])
def test_an_alarm_by_a_formula_uses_all_that_it_looks_at(alarm: str) -> None:
    formula, *stats = ALARMS[alarm]["Metrics"]

    assert set(re.findall(r"FILL\((\w+), 0\)", formula["Expression"])) == {query["Id"] for query in stats}
    assert {query["ReturnData"] for query in stats} == {False}


def test_the_api_has_an_alarm_for_what_it_cannot_answer() -> None:
    properties = ALARMS["ApiErrorsAlarm"]

    assert (properties["Namespace"], properties["MetricName"]) == ("AWS/ApiGateway", "5XXError")
    assert {each["Name"]: filled(each["Value"]) for each in properties["Dimensions"]} == {
        "ApiName": "image-labeller",
        "Stage": "dev",
    }


PRICES = {"labels": 1.00, "moderation": 1.00, "text": 1.00, "properties": 0.75}


def dollars(**calls: int) -> float:
    """What the alarm reckons for so many calls of each detector."""
    formula = ALARMS["SpendingAlarm"]["Metrics"][0]["Expression"]
    numbers = re.sub(r"FILL\((\w+), 0\)", lambda found: str(calls.get(found[1], 0)), formula)
    return float(eval(numbers, {"SUM": sum}))  # noqa: S307 - a sum of numbers


@pytest.mark.parametrize(("detector", "price"), PRICES.items())
def test_a_thousand_calls_cost_what_rekognition_asks_for_them(detector: str, price: float) -> None:
    assert dollars(**{detector: 1000}) == pytest.approx(price)


def test_a_day_that_costs_more_than_the_budget_is_an_alarm_where_there_is_a_budget() -> None:
    alarm = RESOURCES["SpendingAlarm"]

    assert alarm["Condition"] == "HasDailyBudget"
    assert alarm["Properties"]["Threshold"] == {"Ref": "DailyBudget"}
    assert {period for _, _, _, period in watched("SpendingAlarm")} == {24 * 60 * 60}


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "false")


def test_spending_is_reckoned_from_what_the_app_counts(
    counting: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for detector in PRICES:
        Metrics("dev").detector_call(detector, 1)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [
        (described["Namespace"], "DetectorCalls", {name: line[name] for name in described["Dimensions"][0]})
        for line in lines
        for described in line["_aws"]["CloudWatchMetrics"]
        if "DetectorCalls" in {metric["Name"] for metric in described["Metrics"]}
    ]
    queries = ALARMS["SpendingAlarm"]["Metrics"][1:]
    metrics = [query["MetricStat"]["Metric"] for query in queries]
    assert counted == [
        (
            metric["Namespace"],
            metric["MetricName"],
            {each["Name"]: filled(each["Value"]) for each in metric["Dimensions"]},
        )
        for metric in metrics
    ]


@pytest.fixture(scope="module")
def widgets() -> list[dict[str, Any]]:
    body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    queues = {f"{name}.QueueName": name_of(name) for name in QUEUES}
    labels = {name: name for name in re.findall(r"\$\{(!.+?)\}", body)}
    return list(json.loads(filled({"Fn::Sub": body}, **queues, **labels))["widgets"])


def test_the_widgets_of_the_dashboard_fill_its_rows(widgets: list[dict[str, Any]]) -> None:
    rows: dict[int, list[tuple[int, int]]] = {}
    for widget in widgets:
        rows.setdefault(widget["y"], []).append((widget["x"], widget["width"]))

    for row in rows.values():
        ends = [x + width for x, width in row]
        assert [x for x, _ in row] == [0, *ends[:-1]]
        assert ends[-1] == 24


def test_the_dashboard_shows_every_function_and_every_queue(
    widgets: list[dict[str, Any]], app_module: ModuleType
) -> None:
    shown = [json.dumps(widget["properties"]["metrics"]) for widget in widgets]

    def showing(*metrics: str) -> str:
        return "".join(text for text in shown if any(f'"{metric}"' in text for metric in metrics))

    for function in functions(app_module):
        for metric in ("Duration", "Errors", "Throttles", "ConcurrentExecutions"):
            assert f'"{function}"' in showing(metric)
    for queue in QUEUES:
        assert f'"{name_of(queue)}"' in showing("ApproximateNumberOfMessagesVisible")
    for reader in READERS:
        assert f'"image-labeller-dev-{reader}"' in showing("IteratorAge")
    for metric in ("Count", "4XXError", "5XXError", "Latency", "ApproximateAgeOfOldestMessage"):
        assert showing(metric)


@pytest.mark.parametrize(
    ("metric", "dimension"),
    [
        ("Images", "outcome"),
        ("DetectorCalls", "detector"),
        ("DetectorMilliseconds", "detector"),
        ("ReuseHits", "detector"),
        ("Callbacks", "outcome"),
    ],
)
def test_the_dashboard_searches_for_what_the_app_counts(
    widgets: list[dict[str, Any]],
    counting: None,
    capsys: pytest.CaptureFixture[str],
    metric: str,
    dimension: str,
) -> None:
    Metrics("dev").image("labelled")
    Metrics("dev").detector_call("labels", 1)
    Metrics("dev").reuse_hit("labels")
    Metrics("dev").callback("delivered")

    counted = {
        (described["Namespace"], each["Name"], *sorted(described["Dimensions"][0]))
        for line in capsys.readouterr().out.splitlines()
        for described in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for each in described["Metrics"]
    }
    searches = [
        search
        for widget in widgets
        for (search, *_) in widget["properties"]["metrics"]
        if isinstance(search, dict) and f'MetricName="{metric}"' in search["expression"]
    ]
    assert ("ImageLabeller", metric, dimension, "stage") in counted
    [search] = searches
    assert search["expression"].startswith(f"SEARCH('{{ImageLabeller,{dimension},stage}} ")
    assert 'stage="dev"' in search["expression"]
