import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from local_cloud.recognition.memory import Memory


class Counted:
    """Work that counts how often it was done, and fails the first so many times."""

    def __init__(self, failures: int = 0) -> None:
        self.times = 0
        self._failures = failures

    def __call__(self) -> int:
        self.times += 1
        if self.times <= self._failures:
            raise OSError(f"failure {self.times}")
        return self.times


def test_work_is_done_once_for_a_key() -> None:
    memory, work = Memory(), Counted()

    assert [memory.recall(key, work) for key in ("a", "a", "b", "a")] == [1, 1, 2, 1]


def test_those_who_ask_meanwhile_wait_for_the_same_result() -> None:
    memory, begun, may_end = Memory(), threading.Event(), threading.Event()

    def work() -> object:
        begun.set()
        assert may_end.wait(5)
        return object()

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(memory.recall, "a", work)
        assert begun.wait(5)
        others = [pool.submit(memory.recall, "a", Counted(failures=1)) for _ in range(3)]
        may_end.set()

    assert {id(answer.result()) for answer in others} == {id(first.result())}


def test_another_key_does_not_wait() -> None:
    memory, may_end = Memory(), threading.Event()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(memory.recall, "slow", lambda: may_end.wait(5))
        assert memory.recall("quick", lambda: "done") == "done"
        may_end.set()

    assert slow.result() is True


def test_an_error_is_raised_and_not_remembered() -> None:
    memory, work = Memory(), Counted(failures=1)

    with pytest.raises(OSError, match="failure 1"):
        memory.recall("a", work)

    assert memory.recall("a", work) == 2


def test_those_who_wait_for_what_fails_get_the_error_too() -> None:
    memory, begun, may_end = Memory(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(5)
        raise OSError("broken")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memory.recall, "a", work)
        assert begun.wait(5)
        second = pool.submit(memory.recall, "a", work)
        may_end.set()

    assert {str(first.exception()), str(second.exception())} == {"broken"}


def test_the_least_recently_asked_for_goes_first() -> None:
    memory, work = Memory(size=2), Counted()

    asked = [memory.recall(key, work) for key in ("a", "b", "a", "c", "a", "b")]

    assert asked == [1, 2, 1, 3, 1, 4]


def test_what_fails_after_it_was_forgotten_leaves_its_successor_alone() -> None:
    memory, begun, may_fail = Memory(size=1), threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        assert may_fail.wait(5)
        raise OSError("late")

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(memory.recall, "a", fail)
        assert begun.wait(5)
        memory.recall("b", Counted())
        assert memory.recall("a", lambda: "new") == "new"
        may_fail.set()

    assert isinstance(late.exception(), OSError)
    assert memory.recall("a", lambda: "newer") == "new"
