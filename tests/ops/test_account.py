import boto3
import pytest
from botocore.exceptions import NoRegionError

from ops.account import Account


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
