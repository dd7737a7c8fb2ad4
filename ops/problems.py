"""What keeps a command from its work, in a sentence that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

CREDENTIALS = (
    "There are no AWS credentials: run `aws configure` (or `aws sso login`), "
    "or set AWS_PROFILE to a profile that has them."
)
REGION = (
    "There is no AWS region: set AWS_DEFAULT_REGION, or `region` in the profile of your AWS configuration."
)
EXPIRED = "The AWS credentials have expired: log in again (`aws sso login`), or make new ones."


class Problem(click.ClickException):
    """A command cannot go on; the message says why, and what to do."""


@contextmanager
def told() -> Iterator[None]:
    """Turns what botocore raises into a Problem; what has no sentence here is a bug and stays."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise Problem(CREDENTIALS) from error
    except NoRegionError as error:
        raise Problem(REGION) from error
    except SSOError as error:
        raise Problem(EXPIRED) from error
    except ProfileNotFound as error:
        raise Problem(f"{error}: AWS_PROFILE names none of `aws configure list-profiles`.") from error
    except EndpointConnectionError as error:
        raise Problem(f"AWS does not answer: {error}") from error
    except ClientError as error:
        raise Problem(str(error)) from error
