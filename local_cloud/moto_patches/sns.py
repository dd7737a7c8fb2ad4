"""SNS."""

from typing import Any

import moto.sns.models as sns_models

from local_cloud.moto_patches.mending import Function, mend


def apply() -> None:
    mend(sns_models.Topic, "update_from_cloudformation_json", _update_from_cloudformation)


def _update_from_cloudformation(_: Function) -> Function:
    """A topic keeps its subscriptions (moto makes another topic)."""

    def update(original_resource: Any, cloudformation_json: dict[str, Any], **_: Any) -> Any:
        original_resource.display_name = cloudformation_json["Properties"].get("DisplayName", "")
        return original_resource

    return update
