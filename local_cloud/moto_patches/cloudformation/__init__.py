"""CloudFormation."""

from local_cloud.moto_patches.cloudformation import change_sets, resource_types, stacks, templates


def apply() -> None:
    for part in (templates, resource_types, stacks, change_sets):
        part.apply()
