"""What the table says of a key, and what it ought to say of it by the bucket."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.items import unmarshal
from chalicelib.services import Services
from tests.pictures import note_in

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Catalogue:
    services: Services
    s3: "S3Client"
    dynamodb: "DynamoDBClient"

    @property
    def bucket(self) -> str:
        return self.services.settings.images_bucket

    def rows(self, key: str) -> Rows:
        """All rows of a key, by their entry."""
        items = self.dynamodb.query(
            TableName=self.services.settings.images_table,
            KeyConditionExpression="source_file = :key",
            ExpressionAttributeValues={":key": {"S": key}},
            ConsistentRead=True,
        )["Items"]
        rows = [unmarshal(item) for item in items]
        return {row["entry"]: row for row in rows}

    def forget(self, key: str) -> None:
        """Deletes the rows of a key: moto's queries take time in proportion to the table."""
        for entry in self.rows(key):
            self.dynamodb.delete_item(
                TableName=self.services.settings.images_table,
                Key={"source_file": {"S": key}, "entry": {"S": entry}},
            )

    def said(self, key: str) -> Any:
        """Version, status and labels of the image row, and the names that its label rows carry."""
        rows = dict(self.rows(key))
        image = rows.pop("image", None)
        named = sorted(row["label_name"] for row in rows.values())
        if image is None or image["status"] == "removed":
            return None, None, [], named
        labels = sorted(label["name"] for label in image["labels"])
        return image["version_id"], image["status"], labels, named

    def expected(self, key: str) -> Any:
        """The same, of the object that the bucket holds now."""
        try:
            current = self.s3.get_object(Bucket=self.bucket, Key=key)
        except ClientError:
            return None, None, [], []
        names = sorted(label["Name"] for label in note_in(current["Body"].read()))
        return current["VersionId"], "labelled", names, names
