"""The AWS account and the region that the credentials of this machine are for."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import NoRegionError
from chalice.awsclient import TypedAWSClient

from ops.problems import Problem

# Some of AWS's control planes take a request in a second or less: wait for them rather than fail half-way.
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


@dataclass(frozen=True)
class Account:
    session: boto3.Session = field(default_factory=boto3.Session)
    _clients: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def id(self) -> str:
        # Not so patient as the others: it is the first to ask.
        sts = self.session.client("sts", region_name=self.region)
        return sts.get_caller_identity()["Account"]

    @property
    def region(self) -> str:
        if not self.session.region_name:
            raise NoRegionError
        return str(self.session.region_name)

    @property
    def partition(self) -> str:
        return self.session.get_partition_for_region(self.region)

    def check_region(self) -> None:
        """Raises Problem where Rekognition is not known to be: all would be made, and no picture labelled."""
        known = self.session.get_available_regions("rekognition", self.partition)
        if self.region not in known:
            raise Problem(
                f"The region {self.region} is not known to have Rekognition, which looks at the pictures. "
                f"These have it: {', '.join(known) or 'none of its partition'}. Set AWS_DEFAULT_REGION "
                "to one of them; or, if AWS has brought it there since, add --any-region."
            )

    def __str__(self) -> str:
        return f"account {self.id}, region {self.region}"

    def client(self, service: Any) -> Any:
        """The same for each service: to make one takes longer than most requests."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=_PATIENT)
        return self._clients[service]

    def api_url(self, api_id: str, stage: str) -> str:
        suffix = TypedAWSClient(botocore.session.get_session()).endpoint_dns_suffix("apigateway", self.region)
        return f"https://{api_id}.execute-api.{self.region}.{suffix}/{stage}/"
