"""What in the user's environment would send requests elsewhere, or in another name."""

import os
import re

_FOREIGN = re.compile(
    r"AWS_(DEFAULT_)?PROFILE|AWS_SESSION_TOKEN|AWS_(IGNORE_CONFIGURED_)?ENDPOINT_URLS?(_\w+)?", re.ASCII
)


def forget_foreign() -> None:
    for name in filter(_FOREIGN.fullmatch, list(os.environ)):
        del os.environ[name]
