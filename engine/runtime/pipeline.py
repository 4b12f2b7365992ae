"""Work in other threads whose results come out in order: reading ahead, and several batches side by side."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def side_by_side(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, begin: Callable[[], object]
) -> Generator[tuple[Item, Result], None, None]:
    """Do the work on several items at once; every item with its result, in order.

    Args:
        work: Is called in the threads; its errors come out at the item's place.
        items: At most one for each thread, and one more, are taken before their turn.
        threads: How many.
        begin: Is called once in each thread before its first item.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > threads:
                done, result = waiting.popleft()
                yield done, result.result()
        for done, result in waiting:
            yield done, result.result()


def read_ahead(items: Generator[Item, None, None], ahead: int) -> Iterator[Item]:
    """Iterate in another thread, at most `ahead` items in front; errors come out where they belong.

    Closing the generator stops the thread and closes `items`.
    """
    waiting: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(ahead)
    stop = threading.Event()

    def read() -> None:
        try:
            with closing(items):
                for item in items:
                    if not _put(waiting, ("item", item), stop):
                        return
            _put(waiting, ("end", None), stop)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for it
            _put(waiting, ("error", error), stop)

    thread = threading.Thread(target=read, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join()


def _put(waiting: queue.Queue[Item], entry: Item, stop: threading.Event) -> bool:
    """Put an entry as soon as there is room; False if nobody wants it any more."""
    while not stop.is_set():
        try:
            waiting.put(entry, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
