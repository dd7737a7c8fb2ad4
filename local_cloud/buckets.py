"""Which functions a bucket's events go to."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote_plus

from chalice.app import S3EventConfig

from local_cloud.functions import Function
from local_cloud.object_events import ObjectEvent


@dataclass(frozen=True)
class Notification:
    """One function's wish to be told of a bucket's events."""

    config: S3EventConfig
    function: Function

    def wants(self, event: ObjectEvent) -> bool:
        key = unquote_plus(event["s3"]["object"]["key"])
        return (
            event["s3"]["bucket"]["name"] == self.config.bucket
            and any(fnmatchcase(f"s3:{event['eventName']}", pattern) for pattern in self.config.events)
            and key.startswith(self.config.prefix or "")
            and key.endswith(self.config.suffix or "")
        )
