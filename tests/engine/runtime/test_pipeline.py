import threading
import time

import pytest

from engine.runtime.pipeline import in_batches, read_ahead, side_by_side


def numbers(count, log=None, fail_at=None):
    try:
        for i in range(count):
            if i == fail_at:
                raise RuntimeError("broken")
            if log is not None:
                log.append(i)
            yield i
    finally:
        if log is not None:
            log.append("closed")


def test_batches():
    assert list(in_batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_batches([], 3)) == []


def test_order_is_kept_and_no_more_than_asked_is_read():
    log = []
    items = read_ahead(numbers(100, log), 4)
    assert next(items) == 0
    time.sleep(0.3)
    assert len(log) <= 7  # one taken, four waiting, one in hand
    assert [0, *items] == list(range(100))
    assert log[-1] == "closed"


def test_errors_come_out_where_they_belong():
    items = read_ahead(numbers(10, fail_at=3), 2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(items)


def test_closing_stops_the_thread():
    log = []
    before = threading.active_count()
    items = read_ahead(numbers(1000, log), 2)
    next(items)
    items.close()
    assert threading.active_count() == before
    assert log[-1] == "closed"
    assert len(log) < 10


def test_side_by_side_works_at_once_and_keeps_the_order():
    both = threading.Barrier(2, timeout=20)  # broken unless two items are in work at the same time
    begun, log = [], []

    def work(number):
        if number in (0, 1):
            both.wait()
        time.sleep(0.02 * (number % 2 == 0))
        return 10 * number

    results = side_by_side(work, numbers(20, log), 2, lambda: begun.append(threading.get_ident()))
    assert next(results) == (0, 0)
    assert len(log) <= 4
    assert list(results) == [(i, 10 * i) for i in range(1, 20)]
    assert len(begun) == len(set(begun)) == 2
    assert threading.get_ident() not in begun


def test_side_by_side_gives_an_error_at_its_place():
    results = side_by_side(lambda number: 6 // (3 - number), range(10), 2, lambda: None)
    assert [next(results) for _ in range(3)] == [(0, 2), (1, 3), (2, 6)]
    with pytest.raises(ZeroDivisionError):
        next(results)
