from typing import Any

import pytest

from local_cloud.s3_request import S3Request


def request(uri: str, **environ: Any) -> S3Request:
    path, _, query = uri.partition("?")
    base = {"REQUEST_METHOD": "PUT", "PATH_INFO": path, "RAW_URI": uri, "QUERY_STRING": query}
    return S3Request(base | {"HTTP_HOST": "127.0.0.1:4566"} | environ)


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("/images/a/b", ("images", "a/b")),
        ("/images/a%2Fb+c%20d%25", ("images", "a/b+c d%")),
        ("/images//a", ("images", "/a")),
        ("/images/a?versionId=1", ("images", "a")),
        ("/images", ("images", "")),
        ("/images/", ("images", "")),
        ("/", ("", "")),
        ("http://127.0.0.1:4566/images/a?x", ("images", "a")),
    ],
)
def test_bucket_and_key_are_read_from_the_path_as_it_was_sent(uri: str, address: tuple[str, str]) -> None:
    asked = request(uri)

    assert (asked.bucket, asked.key) == address


def test_a_bucket_may_stand_in_the_host() -> None:
    asked = request("/a%20b", HTTP_HOST="images.s3.us-east-1.amazonaws.com")

    assert (asked.bucket, asked.key) == ("images", "a b")


def test_headers_are_named_as_they_were_sent() -> None:
    asked = request(
        "/",
        CONTENT_TYPE="image/png",
        CONTENT_LENGTH="",
        HTTP_X_AMZ_META_MY_KEY="1",
        HTTP_X_AMZ_META_EMPTY="",
        **{"moto.preserved_header_names": {"HTTP_X_AMZ_META_MY_KEY": "x-amz-meta-my_key"}},
    )

    assert asked.headers == {
        "host": "127.0.0.1:4566",
        "content-type": "image/png",
        "x-amz-meta-my_key": "1",
        "x-amz-meta-empty": "",
    }


def test_parameters_without_a_value_are_parameters() -> None:
    assert request("/images?delete&x=a%20b").query == {"delete": "", "x": "a b"}
