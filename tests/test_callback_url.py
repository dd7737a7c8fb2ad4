import pytest

from chalicelib.callback_url import CallbackRules, Target

RULES = CallbackRules()


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://example.com", Target("https", "example.com", 443, "/"), "example.com"),
        ("HTTPS://Example.COM:443/", Target("https", "example.com", 443, "/"), "example.com"),
        ("https://example.com:8443/a", Target("https", "example.com", 8443, "/a"), "example.com:8443"),
        ("https://example.com?a=1", Target("https", "example.com", 443, "/?a=1"), "example.com"),
    ],
)
def test_a_url_comes_apart(url: str, target: Target, authority: str) -> None:
    assert RULES.parse(url) == target
    assert target.authority == authority
