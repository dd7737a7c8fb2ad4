import os

import pytest

from local_cloud.environment import forget_foreign

FOREIGN = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
KEPT = ("AWS_CA_BUNDLE", "AWS_DEFAULT_REGION", "RECOGNISER_PROFILE", "MY_AWS_PROFILE")


def test_what_leads_elsewhere_is_forgotten_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*FOREIGN, *KEPT):
        monkeypatch.setenv(name, "x")

    forget_foreign()

    assert [name for name in (*FOREIGN, *KEPT) if name in os.environ] == [*KEPT]
