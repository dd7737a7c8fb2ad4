"""Changes of the images table that a function could not deal with are handed to it once more.

A letter is the change itself, if the function has put it aside; or it is Lambda's, and says where in the
stream the changes stand. Whatever it is told, and however often, a function only does what is missing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from time import time
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

from chalicelib.aws_errors import error_code
from ops.account import Account
from ops.stage import Stage

READERS = ("notify", "index_image")  # of the stream
_LONGEST = 70  # seconds, of an invocation: more than any reader's time-out
_FORGOTTEN = ("TrimmedDataAccessException", "ResourceNotFoundException")

Change = dict[str, Any]  # as a record of the stream has it under `dynamodb`


class UndeliveredError(Exception):
    """A change that nobody has dealt with; the message says why."""


@dataclass(frozen=True)
class StreamLetters:
    stage: Stage
    account: Account

    def deliver(self, letter: str) -> None:
        """Raises UndeliveredError if a function fails at a change, or if it cannot be had any more."""
        try:
            functions, changes = self._read(json.loads(letter))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UndeliveredError("a message is no change of a row, and tells of none") from error
        for change in changes:
            for function in functions:
                self._tell(function, change)

    def _read(self, letter: Any) -> tuple[list[str], list[Change]]:
        """Whom to tell, and what."""
        if place := letter.get("DDBStreamBatchInfo"):
            return [letter["requestContext"]["functionArn"]], self._standing_at(place)
        change = letter if {"NewImage", "OldImage"} & letter.keys() else self._completed(letter)
        return [self.stage.function_name(reader) for reader in READERS], [change]

    @cached_property
    def _lambda(self) -> Any:
        """Once, and with patience for as long as a function may run: to ask again is to invoke it again."""
        patience = Config(read_timeout=_LONGEST, retries={"total_max_attempts": 1})
        return self.account.session.client("lambda", config=patience)

    def _completed(self, change: Change) -> Change:
        """One whose rows were too large for a letter, with the row as it is by now."""
        table, key = self.stage.images_table, change["Keys"]
        answer = self.account.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            raise UndeliveredError(f"the row of {key['source_file']['S']!r} is gone by now")
        return {**change, "NewImage": answer["Item"]}

    def _standing_at(self, place: Any) -> list[Change]:
        """All from the first to the last that the letter speaks of."""
        last, changes = int(place["endSequenceNumber"]), []
        for change in self._read_from(place):
            number = int(change["SequenceNumber"])
            if number <= last:
                changes.append(change)
            if number == last:
                return changes
            if number > last:
                break
        raise UndeliveredError("the stream has forgotten a change")

    def _read_from(self, place: Any) -> Iterator[Change]:
        client = self.account.client("dynamodbstreams")
        try:
            answer = client.get_shard_iterator(
                StreamArn=place["streamArn"],
                ShardId=place["shardId"],
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                SequenceNumber=place["startSequenceNumber"],
            )
            iterator = answer["ShardIterator"]
            while iterator:
                answer = client.get_records(ShardIterator=iterator)
                yield from (record["dynamodb"] for record in answer["Records"])
                iterator = answer.get("NextShardIterator")
        except ClientError as error:
            if error_code(error) in _FORGOTTEN:
                raise UndeliveredError("the stream, which remembers a day, has forgotten a change") from error
            raise

    def _tell(self, function: str, change: Change) -> None:
        # As if it had happened now: what functions died of is tried once more, and not put aside unseen.
        told = {**change, "ApproximateCreationDateTime": time()}
        try:
            answer = self._lambda.invoke(
                FunctionName=function, Payload=json.dumps({"Records": [{"dynamodb": told}]})
            )
            said = json.loads(answer["Payload"].read())
        except (ClientError, HTTPClientError) as error:
            raise UndeliveredError(f"{function} did not answer: {error}") from error
        if "FunctionError" in answer:
            raise UndeliveredError(f"{function} failed: {said.get('errorMessage')}")
        if said["batchItemFailures"]:
            raise UndeliveredError(f"{function} could not reach DynamoDB or SQS, or may not: see its log")
