"""S3."""

import json
from functools import lru_cache
from typing import Any

import moto.s3.models as s3_models
from moto.s3.exceptions import BucketNotEmpty
from moto.utilities.utils import get_partition

from local_cloud.moto_patches.mending import Function, is_true, mend, mend_cloudformation
from local_cloud.moto_patches.s3_objects import as_versioned, check_version


def apply() -> None:
    mend(s3_models.S3Backend, "put_object", _put_object)
    mend(s3_models.S3Backend, "delete_object", _delete_object)
    mend(s3_models.FakeBucket, "get_permission", _get_permission)
    mend(s3_models.FakeBucket, "delete_from_cloudformation_json", _delete_from_cloudformation)
    mend_cloudformation(s3_models.FakeBucket, _configure_bucket)


def _put_object(original: Function) -> Function:
    """On a bucket with suspended versioning a put replaces the null version only (moto: all versions)."""

    def put_object(self: Any, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> Any:
        bucket = self.get_bucket(bucket_name)
        kept = _versions(bucket, key_name) if bucket.versioning_status == "Suspended" else []
        dict.__setitem__(bucket.keys, key_name, [version for version in kept if _is_null(version)])
        try:
            return original(self, bucket_name, key_name, *args, **kwargs)
        finally:
            numbered = [version for version in kept if not _is_null(version)]
            dict.__setitem__(bucket.keys, key_name, numbered + bucket.keys.getlist(key_name))

    def put_object_unless_suspended(self: Any, bucket_name: str, *args: Any, **kwargs: Any) -> Any:
        suspended = self.get_bucket(bucket_name).versioning_status == "Suspended"
        return (put_object if suspended else original)(self, bucket_name, *args, **kwargs)

    return put_object_unless_suspended


def _delete_object(original: Function) -> Function:
    """Once a bucket has had versioning, deleting a key adds a delete marker, also when there is no such key
    (moto: does nothing then, and forgets all versions when versioning is suspended). A delete marker that is
    deleted is said to be one."""

    def delete_object(
        self: Any, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
    ) -> tuple[bool, dict[str, Any]]:
        bucket = self.get_bucket(bucket_name)
        check_version(bucket, version_id)
        if not bucket.versioning_status:
            deleted: tuple[bool, dict[str, Any]] = original(self, bucket_name, key_name, version_id, bypass)
            return deleted
        if version_id is None:
            return True, _about(_mark_deleted(self, bucket, key_name))
        [version] = [each for each in _versions(bucket, key_name) if each.version_id == version_id] or [None]
        with as_versioned(bucket):
            done, about = original(self, bucket_name, key_name, version_id, bypass)
        return done, about | _about(version)

    return delete_object


def _about(version: Any) -> dict[str, str]:
    is_marker = isinstance(version, s3_models.FakeDeleteMarker)
    return {"version-id": str(version.version_id), "delete-marker": "true"} if is_marker else {}


def _mark_deleted(backend: Any, bucket: Any, key_name: str) -> Any:
    versions = _versions(bucket, key_name)
    region = backend.region_name
    stand_in = s3_models.FakeKey(key_name, b"", account_id=backend.account_id, region_name=region)
    marker = s3_models.FakeDeleteMarker(key=versions[-1] if versions else stand_in)
    if bucket.versioning_status == "Suspended":
        marker._version_id = "null"
        versions = [version for version in versions if not _is_null(version)]
    dict.__setitem__(bucket.keys, key_name, [*versions, marker])
    return marker


def _versions(bucket: Any, key_name: str) -> list[Any]:
    return list(bucket.keys.getlist(key_name, []))


def _is_null(version: Any) -> bool:
    return str(version.version_id) == "null"


def _get_permission(original: Function) -> Function:
    """What does not leave the machine counts as encrypted on its way (moto takes any condition for met)."""

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return original(self, action, resource)
        whole, self.policy = self.policy, _where_encrypted(self.policy)
        try:
            return original(self, action, resource)
        finally:
            self.policy = whole

    return get_permission


@lru_cache(maxsize=1024)
def _where_encrypted(policy: bytes) -> bytes | None:
    """What a policy says about requests over TLS; None where that is nothing."""
    document = json.loads(policy)
    statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    left = [each for each in statements if not _is_about_plain_requests(each)]
    return json.dumps(document | {"Statement": left}).encode() if left else None


def _is_about_plain_requests(statement: dict[str, Any]) -> bool:
    secure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport", True)
    return not is_true(secure)


def _delete_from_cloudformation(original: Function) -> Function:
    """A bucket that is not empty is not deleted, and that is an error (moto: is not deleted)."""

    def delete_bucket(name: str, cloudformation_json: Any, account_id: str, region_name: str) -> None:
        bucket = s3_models.s3_backends[account_id][get_partition(region_name)].get_bucket(name)
        if bucket.keys:
            raise BucketNotEmpty(bucket_name=name)
        original(name, cloudformation_json, account_id, region_name)

    return delete_bucket


def _configure_bucket(bucket: Any, properties: dict[str, Any]) -> None:
    """moto's CloudFormation passes these over without a word."""
    if versioning := properties.get("VersioningConfiguration"):
        bucket.versioning_status = versioning["Status"]
    bucket.set_cors(
        [_cors_rule(rule) for rule in properties.get("CorsConfiguration", {}).get("CorsRules", [])]
    )
    lifecycle = properties.get("LifecycleConfiguration", {}).get("Rules", [])
    bucket.set_lifecycle([_lifecycle_rule(rule) for rule in lifecycle])
    if ownership := properties.get("OwnershipControls"):
        bucket.ownership_rule = ownership["Rules"][0]["ObjectOwnership"]
    if block := properties.get("PublicAccessBlockConfiguration"):
        bucket.public_access_block = s3_models.PublicAccessBlock(
            *(str(is_true(block.get(name, False))).lower() for name in _PUBLIC_ACCESS)
        )


_PUBLIC_ACCESS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_CORS_NAMES = {
    "AllowedMethods": "AllowedMethod",
    "AllowedOrigins": "AllowedOrigin",
    "AllowedHeaders": "AllowedHeader",
    "ExposedHeaders": "ExposeHeader",
    "MaxAge": "MaxAgeSeconds",
    "Id": "ID",
}


def _cors_rule(rule: dict[str, Any]) -> dict[str, Any]:
    named = {_CORS_NAMES[name]: value for name, value in rule.items()}
    return named | ({"MaxAgeSeconds": str(named["MaxAgeSeconds"])} if "MaxAgeSeconds" in named else {})


_LIFECYCLE_NAMES = {
    "Id": "ID",
    "Status": "Status",
    "AbortIncompleteMultipartUpload": "AbortIncompleteMultipartUpload",
    "NoncurrentVersionExpiration": "NoncurrentVersionExpiration",
}


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """As S3's own request has it, where what is done to current objects stands in an Expiration."""
    expiration = {
        "Days": rule.get("ExpirationInDays"),
        "ExpiredObjectDeleteMarker": "true" if is_true(rule.get("ExpiredObjectDeleteMarker")) else None,
    }
    expiration = {name: value for name, value in expiration.items() if value is not None}
    rest = {name: value for name, value in rule.items() if name not in _IN_EXPIRATION and name != "Prefix"}
    return {
        **{_LIFECYCLE_NAMES[name]: value for name, value in rest.items()},
        "Filter": {"Prefix": rule.get("Prefix", "")},
        **({"Expiration": expiration} if expiration else {}),
    }


_IN_EXPIRATION = {"ExpirationInDays", "ExpiredObjectDeleteMarker"}
