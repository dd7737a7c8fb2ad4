"""How long the API's log is kept: Chalice says so of a log group that the API's function never writes to."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chalice.config import Config

from ops.stage import API_HANDLER, Stage


@dataclass(frozen=True)
class LogGroups:
    client: Any
    stage: Stage

    def finish(self) -> list[str]:
        """Sets what differs, and says what that was."""
        config = Config(self.stage.name, API_HANDLER, config_from_disk=self.stage.document())
        days = config.log_retention_in_days
        name = f"/aws/lambda/{self.stage.function_name(API_HANDLER)}"
        if days is None or self._retention(name) == days:
            return []
        self.client.put_retention_policy(logGroupName=name, retentionInDays=days)
        return [f"{name}: kept for {days} days"]

    def _retention(self, name: str) -> int | None:
        pages = self.client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        for group in (group for page in pages for group in page["logGroups"]):
            if group["logGroupName"] == name:
                days: int | None = group.get("retentionInDays")
                return days
        with suppress(self.client.exceptions.ResourceAlreadyExistsException):  # by the function, just now
            self.client.create_log_group(logGroupName=name)
        return None
