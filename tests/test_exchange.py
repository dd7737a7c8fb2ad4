import pytest

from chalicelib.exchange import Deadline


def test_a_deadline_leaves_less_and_less_time_and_then_none() -> None:
    moments = iter([10.0, 14.5, 15.0])
    deadline = Deadline(lambda: next(moments), 15.0)

    assert deadline.left() == 5.0
    assert deadline.left() == 0.5
    with pytest.raises(TimeoutError):
        deadline.left()
