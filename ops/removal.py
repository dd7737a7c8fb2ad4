"""`python -m ops destroy`: everything of a stage goes, and its data only if asked."""

import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ops import configuration
from ops.account import Account
from ops.emptying import Bucket
from ops.inventory import Found, Inventory, unless_absent
from ops.listing import listing
from ops.problems import Problem
from ops.stack import Stack
from ops.stage import Stage

Row = tuple[str, str]
Confirm = Callable[[Stage], None]  # raises what ends the command

_REQUESTS = {
    "API": ("apigateway", "delete_rest_api"),
    "event source": ("lambda", "delete_event_source_mapping"),
    "function": ("lambda", "delete_function"),
    "log group": ("logs", "delete_log_group"),
    "role": ("iam", "delete_role"),
    "rule": ("events", "delete_rule"),
    "secret": ("secretsmanager", "delete_secret"),
    "table": ("dynamodb", "delete_table"),
}
# DynamoDB makes it by itself of a table that has point-in-time recovery.
_BACKUP = "of which DynamoDB keeps a backup for 35 days"


def run(stage: Stage, console: Console, *, delete_data: bool, confirm: Confirm) -> None:
    account = Account()
    stage.check_home(account)
    removal = Removal(stage, account, console, delete_data)
    if plan := removal.plan:
        console.print(listing("", "", "", rows=plan))
        confirm(stage)
        removal.run()
        console.print(f"The stage {stage.name} is gone.")
    else:
        console.print(f"There is nothing of the stage {stage.name} in {account}.")
    if kept := removal.kept:
        console.print(kept)


@dataclass(frozen=True)
class Removal:
    stage: Stage
    account: Account
    console: Console
    delete_data: bool

    @property
    def stack(self) -> Stack:
        return Stack(self.account.client("cloudformation"), self.stage.stack_name)

    @property
    def inventory(self) -> Inventory:
        return Inventory(self.stage, self.account)

    @property
    def plan(self) -> list[tuple[str, str, str]]:
        """What goes, and what stays; empty where nothing would go."""
        data = list(self._data())
        going = [*self._on_aws(), *self._on_the_stack(), *self._here(), *(data if self.delete_data else [])]
        staying = data if going and not self.delete_data else []
        return [("goes", *row) for row in going] + [("stays", *row) for row in staying]

    def run(self) -> None:
        """In an order in which nothing works on what is gone already, and which can begin anew anywhere."""
        roles = self.inventory.roles  # also those that only their functions name
        self._delete_by_chalice()
        self._delete_by_name(roles)
        self.stack.delete(self.console)
        if self.delete_data:
            self._delete_data()
        configuration.forget(self.stage)

    @property
    def kept(self) -> str:
        """What to do about the data that is still there; empty where there is none."""
        names = ", ".join(name for _, name in self._data_names())
        if not names:
            return ""
        return (
            f"Kept: {names}.\n"
            f"`make deploy STAGE={self.stage.name}` takes them up again; "
            f"`make destroy STAGE={self.stage.name} ARGS=--delete-data` deletes them."
        )

    def _on_aws(self) -> Iterator[Row]:
        there = self.inventory
        yield from (("API", self.account.api_url(api["id"], self.stage.name)) for api in there.apis)
        yield from (("function", function["FunctionName"]) for function in there.functions)
        yield from (("rule", name) for name in there.rules)
        yield from (("role", role) for role in there.roles)
        yield from (("log group", name) for name in there.log_groups)

    def _on_the_stack(self) -> Iterator[Row]:
        found = self.stack.describe()
        if not found:
            return
        if found.get("EnableTerminationProtection"):
            raise Problem(f"The stack {self.stack.name} is protected from deletion: take that off it first.")
        if found["StackStatus"] != "DELETE_IN_PROGRESS":
            self.stack.refuse_if_busy(found["StackStatus"])
        yield "stack", f"{self.stack.name}, {found['StackStatus']}"
        for queue in self.inventory.queues:
            yield "queue", f"{queue.name}, {queue.messages} messages"
        yield from (("alarm", alarm["AlarmName"]) for alarm in self.inventory.alarms)

    def _here(self) -> Iterator[Row]:
        if self.stage.config():
            yield "configuration", f"{self.stage.name} in {self.stage.config_file.name}, with its policies"
        if self.stage.deployed_file.is_file():
            yield "record", f"{self.stage.deployed_file.name}, by Chalice"

    def _data(self) -> Iterator[Row]:
        for kind, name in self._data_names():
            if kind == "bucket":
                yield kind, f"{name}, {self._bucket(name).survey()}"
            elif kind == "table" and self.delete_data:
                yield kind, f"{name}, {_BACKUP}"
            else:
                yield kind, name

    def _data_names(self) -> Iterator[Row]:
        there = self.inventory
        yield from (("bucket", name) for name in there.buckets)
        yield from (("table", name) for name in there.tables)
        yield from (("secret", name) for name in there.secrets)

    def _bucket(self, name: str) -> Bucket:
        return Bucket(self.account.client("s3"), name, self.account.id)

    def _delete_by_chalice(self) -> None:
        """It deletes what it noted, and gives up at the first thing that is gone already."""
        if not (self.stage.config() and self.stage.deployed()):
            return
        chalice = Path(sysconfig.get_path("scripts")) / "chalice"
        done = subprocess.run(  # noqa: S603 - the name of a stage is letters and digits
            [chalice, "delete", "--stage", self.stage.name],
            cwd=self.stage.project,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            [*_, reason] = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            self.console.print(f"`chalice delete` gave up ({reason.strip()}); the rest goes by name.")

    def _delete_by_name(self, roles: Sequence[str]) -> None:
        there = self.inventory
        functions = there.functions
        self._delete_triggers(functions)
        for api in there.apis:
            self._delete("API", api["id"], restApiId=api["id"])
        for function in functions:
            self._delete("function", function["FunctionName"], FunctionName=function["FunctionName"])
        for role in roles:
            self._delete_role(role)
        for group in there.log_groups:  # last: a function at work would make its own again
            self._delete("log group", group, logGroupName=group)

    def _delete_triggers(self, functions: Sequence[Found]) -> None:
        there = self.inventory
        for bucket in there.buckets:
            self._disconnect(bucket)
        for function in functions:
            for mapping in there.mappings(function):
                self._delete("event source", mapping["EventSourceArn"], UUID=mapping["UUID"])
        for rule in there.rules:
            self._delete_rule(rule)

    def _delete_data(self) -> None:
        there = self.inventory
        for name in there.buckets:
            with self.console.status("") as status:
                self._bucket(name).delete(status.update)
            self.console.print(f"Deleted bucket {name}")
        tables = there.tables
        for name in tables:
            self._delete("table", name, TableName=name)
        for name in tables:
            self.account.client("dynamodb").get_waiter("table_not_exists").wait(TableName=name)
        for name in there.secrets:
            self._delete("secret", name, SecretId=name, ForceDeleteWithoutRecovery=True)

    def _disconnect(self, bucket: str) -> None:
        """Takes the stage's functions out of what the bucket notifies, and leaves the rest."""
        client = self.account.client("s3")
        notified = client.get_bucket_notification_configuration(Bucket=bucket)
        notified.pop("ResponseMetadata")
        functions = notified.get("LambdaFunctionConfigurations", [])
        others = [each for each in functions if not self.stage.owns(each["LambdaFunctionArn"].split(":")[6])]
        if len(others) < len(functions):
            notified["LambdaFunctionConfigurations"] = others
            client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notified)
            self.console.print(f"Deleted notifications of bucket {bucket}")

    def _delete_rule(self, rule: str) -> None:
        client = self.account.client("events")
        listed = unless_absent(client.list_targets_by_rule, Rule=rule) or {"Targets": []}
        if targets := [target["Id"] for target in listed["Targets"]]:
            client.remove_targets(Rule=rule, Ids=targets)
        self._delete("rule", rule, Name=rule)

    def _delete_role(self, role: str) -> None:
        client = self.account.client("iam")
        attached = unless_absent(client.list_attached_role_policies, RoleName=role) or {
            "AttachedPolicies": []
        }
        for policy in attached["AttachedPolicies"]:
            client.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
        inline = unless_absent(client.list_role_policies, RoleName=role) or {"PolicyNames": []}
        for name in inline["PolicyNames"]:
            client.delete_role_policy(RoleName=role, PolicyName=name)
        self._delete("role", role, RoleName=role)

    def _delete(self, kind: str, name: str, **what: object) -> None:
        service, operation = _REQUESTS[kind]
        if unless_absent(getattr(self.account.client(service), operation), **what) is not None:
            self.console.print(f"Deleted {kind} {name}")
