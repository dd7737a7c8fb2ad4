"""Users, S3, Lambda and bad luck by rules, in an order that Hypothesis thinks up; then all must be well."""

from datetime import timedelta

from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.reliability.life import KEYS, SECRET_KEYS, Choices, Life, Weather, recovered
from tests.reliability.stage import Stage

keys, secret_keys = st.sampled_from(KEYS[:3]), st.sampled_from(SECRET_KEYS[:2])
chances = st.sampled_from([0.0, 0.1, 0.5])
places = st.integers(0, 10**6)  # in whatever is waiting


class Machine(RuleBasedStateMachine):
    stage: Stage

    @initialize(
        seed=st.integers(0, 10**6),
        choices=st.builds(
            Choices,
            calls_back=st.booleans(),
            reuses=st.booleans(),
            daily_limit=st.sampled_from([0, 3]),
            quota=st.sampled_from([None, 1.0]),
            absences=chances,
        ),
    )
    def begin(self, seed: int, choices: Choices) -> None:
        self.life = Life(self.stage, seed, choices=choices)
        self.life.begin(Weather(faults=0.0, deaths=0.0, interruptions=0.0))

    @rule(key=keys, like=st.integers(0, 3))
    def upload(self, key: str, like: int) -> None:
        self.life.upload(key, min(like, self.life.uploads))

    @rule(key=secret_keys, is_flagged=st.booleans())
    def upload_a_secret(self, key: str, is_flagged: bool) -> None:
        self.life.upload(key, is_flagged=is_flagged)

    @rule(key=st.one_of(keys, secret_keys))
    def upload_no_picture(self, key: str) -> None:
        self.life.upload_no_picture(key)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.stage.delete(key)

    @rule(key=keys)
    def delete_latest_version(self, key: str) -> None:
        self.life.delete_latest_version(key)

    @rule(key=keys)
    def relabel(self, key: str) -> None:
        self.life.relabel(key)

    @rule(key=secret_keys)
    def release(self, key: str) -> None:
        self.life.release(key)

    @rule(key=secret_keys)
    def remove(self, key: str) -> None:
        self.life.remove(key)

    @property
    def _something_waits(self) -> bool:
        return bool(self.stage.post.waiting)

    @precondition(lambda self: self._something_waits)
    @rule(place=places)
    def deliver(self, place: int) -> None:
        self.stage.post.deliver(place % len(self.stage.post.waiting))

    @precondition(lambda self: self._something_waits)
    @rule(place=places)
    def duplicate(self, place: int) -> None:
        self.stage.post.duplicate(place % len(self.stage.post.waiting))

    @precondition(lambda self: self._something_waits)
    @rule(place=places)
    def drop(self, place: int) -> None:
        self.stage.post.drop(place % len(self.stage.post.waiting))

    @rule(faults=chances)
    def have_faults(self, faults: float) -> None:
        self.stage.troubles.faults.probability = faults

    @rule(calls=st.integers(1, 20))
    def die(self, calls: int) -> None:
        self.stage.troubles.dies_in = calls

    @rule(seconds=st.sampled_from([0, 5, 30, 90, 300, 1000]))
    def pass_time(self, seconds: int) -> None:
        self.stage.pass_time(timedelta(seconds=seconds))

    def teardown(self) -> None:
        if hasattr(self, "life"):
            record = recovered(self.life)
            assert record.is_fine, record


def test_whatever_is_done_in_whatever_order_the_table_ends_as_the_bucket_is(
    stage: Stage, exhaustive: bool
) -> None:
    class Here(Machine):
        pass

    Here.stage = stage
    run_state_machine_as_test(
        Here,
        settings=hypothesis_settings(
            max_examples=10 if exhaustive else 2,
            stateful_step_count=30 if exhaustive else 12,
            derandomize=True,
            phases=[Phase.generate],  # to make a failure short takes minutes
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
