import boto3
import pytest
from botocore.exceptions import NoRegionError

from ops.account import Account
from ops.problems import Problem


def test_it_is_the_one_of_the_credentials(account: Account) -> None:
    assert (account.id, account.region, account.partition) == ("123456789012", "us-east-1", "aws")
    assert str(account) == "account 123456789012, region us-east-1"


@pytest.mark.parametrize(
    ("region", "partition", "url"),
    [
        ("eu-west-1", "aws", "https://a1.execute-api.eu-west-1.amazonaws.com/dev/"),
        ("cn-north-1", "aws-cn", "https://a1.execute-api.cn-north-1.amazonaws.com.cn/dev/"),
        ("us-gov-west-1", "aws-us-gov", "https://a1.execute-api.us-gov-west-1.amazonaws.com/dev/"),
    ],
)
def test_addresses_are_those_of_the_regions_partition(region: str, partition: str, url: str) -> None:
    account = Account(boto3.Session(region_name=region))

    assert account.partition == partition
    assert account.api_url("a1", "dev") == url


def test_without_a_region_it_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(NoRegionError):
        _ = Account().id


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "us-gov-west-1"])
def test_a_region_that_has_rekognition_will_do(region: str) -> None:
    Account(boto3.Session(region_name=region)).check_region()


@pytest.mark.parametrize(
    ("region", "others"),
    [("eu-north-1", "ap-northeast-1, .*eu-west-1, .*us-west-2"), ("cn-north-1", "none of its partition")],
)
def test_a_region_without_rekognition_is_told_with_those_that_have_it(region: str, others: str) -> None:
    with pytest.raises(Problem, match=rf"^The region {region} .* These have it: {others}\. .*--any-region"):
        Account(boto3.Session(region_name=region)).check_region()
