"""Work in other threads whose results come out in order: reading ahead, and several batches side by side."""

from __future__ import annotations

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Literal, TypeVar

import numpy as np

_MOST_HELD_BYTES = 512 << 20
Item = TypeVar("Item")
Result = TypeVar("Result")
_Entry = tuple[Literal["item"], Item] | tuple[Literal["error"], BaseException] | tuple[Literal["end"], None]


class Held:
    """Arrays that are in use anywhere in a pipeline, by the memory that they take."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}  # by id

    def add(self, array: np.ndarray) -> None:
        """Count an array until nothing uses it any more."""
        self._sizes[id(array)] = array.nbytes
        weakref.finalize(array, self._sizes.pop, id(array), None)

    def full(self) -> bool:
        """Whether a stage should pass on what it has before it takes more."""
        return sum(list(self._sizes.values())) > _MOST_HELD_BYTES


def never() -> bool:
    """For items that take no memory to speak of."""
    return False


def in_batches(items: Iterable[Item], size: int, full: Callable[[], bool] = never) -> Iterator[list[Item]]:
    """Lists of `size` items, shorter at the end and wherever memory is full."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size or full():
            yield batch
            batch = []
    if batch:
        yield batch


def side_by_side(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    begin: Callable[[], object],
    full: Callable[[], bool] = never,
) -> Generator[tuple[Item, Result], None, None]:
    """Do the work on several items at once; every item with its result, in order.

    Args:
        work: Is called in the threads; its errors come out at the item's place.
        items: At most one for each thread, and one more, are taken before their turn.
        threads: How many.
        begin: Is called once in each thread before its first item.
        full: Whether memory is: then no item is taken before its turn.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            while waiting and (len(waiting) > threads or full()):
                done, result = waiting.popleft()
                yield done, result.result()
        for done, result in waiting:
            yield done, result.result()


def read_ahead(
    items: Generator[Item, None, None], ahead: int, full: Callable[[], bool] = never
) -> Generator[Item, None, None]:
    """Iterate in another thread, at most `ahead` items in front, one while memory is full; errors keep their place.

    Closing the generator stops the thread and closes `items`.
    """
    waiting: queue.Queue[_Entry[Item]] = queue.Queue(ahead)
    stop = threading.Event()

    def read() -> None:
        try:
            with closing(items):
                for item in items:
                    if not _put(waiting, ("item", item), stop, full):
                        return
                    del item  # not held while the next one is read
            _put(waiting, ("end", None), stop)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for it
            _put(waiting, ("error", error), stop)

    thread = threading.Thread(target=read, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            entry = waiting.get()
            if entry[0] == "end":
                return
            if entry[0] == "error":
                raise entry[1]
            yield entry[1]
    finally:
        stop.set()
        thread.join()


def _put(waiting: queue.Queue[Item], entry: Item, stop: threading.Event, full: Callable[[], bool] = never) -> bool:
    """Put an entry as soon as there is room; False if nobody wants it any more."""
    while not stop.is_set():
        if full() and not waiting.empty():
            stop.wait(0.01)
            continue
        try:
            waiting.put(entry, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
