from typing import Any

import pytest

from local_cloud.object_events import ObjectEvent


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
