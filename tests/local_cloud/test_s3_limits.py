from typing import Any

import pytest
import requests

from local_cloud.object_events import ObjectEvent
from tests.local_cloud.conftest import Presign


@pytest.mark.parametrize("key", ["x" * 1025, "\N{DOG FACE}" * 256 + "x"], ids=["ascii", "emoji"])
def test_a_key_of_more_than_1024_bytes_is_refused(
    s3: Any, bucket: str, events: list[ObjectEvent], key: str
) -> None:
    with pytest.raises(s3.exceptions.ClientError, match="KeyTooLongError"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")

    assert events == []


def test_metadata_of_two_kilobytes_is_kept_and_more_is_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"", Metadata={"k": "v" * 2047})

    with pytest.raises(s3.exceptions.ClientError, match="MetadataTooLarge"):
        s3.put_object(Bucket=bucket, Key="b", Body=b"", Metadata={"k": "v" * 2048})


def test_a_copy_with_new_metadata_has_two_kilobytes_too(
    s3: Any, bucket: str, events: list[ObjectEvent]
) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    copy = {"Bucket": bucket, "CopySource": f"{bucket}/a", "MetadataDirective": "REPLACE"}

    s3.copy_object(**copy, Key="b", Metadata={"k": "v" * 2047})
    with pytest.raises(s3.exceptions.ClientError, match="MetadataTooLarge"):
        s3.copy_object(**copy, Key="c", Metadata={"k": "v" * 2048})

    assert [event["s3"]["object"]["key"] for event in events] == ["a", "b"]


@pytest.mark.parametrize("where", ["header", "query"])
def test_a_presigned_upload_has_two_kilobytes_too(s3: Any, bucket: str, where: str, presign: Presign) -> None:
    answers = []
    for key, size in (("a", 2047), ("b", 2048)):
        metadata = {"k": "v" * size}
        url = presign("put_object", in_query=where == "query", Bucket=bucket, Key=key, Metadata=metadata)
        headers = {"x-amz-meta-k": metadata["k"]} if where == "header" else {}
        answers.append(requests.put(url, data=b"x", headers=headers, timeout=10))

    assert [answer.status_code for answer in answers] == [200, 400]
    assert "<Code>MetadataTooLarge</Code>" in answers[1].text
    assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"k": "v" * 2047}


def test_a_form_is_not_taken_whatever_its_policy_says(
    s3: Any, bucket: str, events: list[ObjectEvent]
) -> None:
    form = s3.generate_presigned_post(bucket, "a", Conditions=[["content-length-range", 1, 10]])

    answers = [
        requests.post(form["url"], data=fields, files={"file": b"x" * size}, timeout=10)
        for fields, size in ((form["fields"], 5), (form["fields"], 500), ({"key": "a"}, 5))
    ]

    assert [answer.status_code for answer in answers] == [501, 501, 501]
    assert "<Code>NotImplemented</Code>" in answers[0].text
    assert events == []
