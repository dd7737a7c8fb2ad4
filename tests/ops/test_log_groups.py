import boto3
import pytest
from botocore.stub import Stubber

from ops import configuration
from ops.account import Account
from ops.log_groups import LogGroups
from ops.stack import Stack
from ops.stage import Stage


@pytest.fixture
def configured(resources: Stack, stage: Stage, account: Account) -> Stage:
    configuration.write(stage, account, resources.outputs, None)
    return stage


def test_a_log_group_that_the_function_makes_at_that_moment_will_do(
    configured: Stage, session: boto3.Session
) -> None:
    client, name = session.client("logs"), f"/aws/lambda/{configured.prefix}"
    with Stubber(client) as logs:
        logs.add_response("describe_log_groups", {"logGroups": []})
        logs.add_client_error("create_log_group", "ResourceAlreadyExistsException", "It is there.")
        logs.add_response("put_retention_policy", {}, {"logGroupName": name, "retentionInDays": 30})

        changes = LogGroups(client, configured).finish()

        logs.assert_no_pending_responses()
    assert changes == [f"{name}: kept for 30 days"]
