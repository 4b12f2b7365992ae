"""Reads the opcodes of a pickle into plain data, and into inert stubs of whatever else it names.

Python's own unpickler calls what a file names and changes what a file points to. This one knows four kinds of values:
scalars, the containers that it made itself, inert stubs, and what a `Global` gives when it is called. Nothing else can
be called, set, appended to or given a state, so a file reaches nothing but its own data. `pickletools`, of the standard
library, takes the bytes apart.
"""

from __future__ import annotations

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeGuard

from files.kinds import is_tuple

MAX_WORK = 500_000  # opcodes, and a part of what calls copy; the largest original checkpoints need about 200,000
_COPIED = 4  # items or characters that a call may copy for the work of one opcode
_COUNTED: tuple[type[Sized], ...] = (str, bytes, tuple, list, dict)
_KEYS = (str, int, float, bool, bytes, type(None))  # flat: the hash of a deep tuple exhausts the stack of the process


class Stub:
    """Stands in for an object of somebody's code: attributes only, no behaviour."""

    stub_state: object  # where it is no mapping

    def __init__(self, *args: object) -> None:
        self.stub_args = args


@dataclass(frozen=True)
class Global:
    """What a file may call.

    Attributes:
        make: A subclass of `Stub`, or a function of this project.
    """

    make: Callable[..., Any]


class Machine:
    """Reads pickles, one after the other, from a file.

    Args:
        file: Where they begin; anything with `read` and `readline`.
        find: From module and name to what stands for it; raises for what is refused.
        load: From a persistent id to its value; raises for what is refused.
    """

    def __init__(self, file: BinaryIO, find: Callable[[str, str], object], load: Callable[[Any], object]) -> None:
        self.file, self.find, self.load = file, find, load
        self.work = MAX_WORK

    def read(self) -> Any:  # noqa: ANN401  (whatever the file holds)
        """The next pickle.

        Raises:
            pickle.UnpicklingError: If it does what no checkpoint needs, or more of it.
            ValueError, LookupError, TypeError: If it is damaged.
        """
        self.memo: dict[int, Any] = {}
        self.marks: list[list[Any]] = []
        self.stack: list[Any] = []
        for opcode, argument, _ in pickletools.genops(self.file):
            self.spend(1)
            step = _STEPS.get(opcode.name)
            if step is None:
                raise pickle.UnpicklingError(f"the opcode {opcode.name}, which no checkpoint has")
            step(self, argument)
        return self.stack.pop()

    def spend(self, work: int) -> None:
        """Count work, so that no file takes more than a second or two."""
        self.work -= work
        if self.work < 0:
            raise pickle.UnpicklingError(f"more than {MAX_WORK:,} steps, which no checkpoint has")

    def marked(self) -> list[Any]:
        """Take what stands above the last mark."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def call(self, function: object, args: object) -> None:
        """Put what a global gives onto the stack."""
        if not isinstance(function, Global) or not is_tuple(args):
            raise pickle.UnpicklingError(f"a call of {type(function).__name__}, which is nothing to call")
        self.spend(sum(len(arg) for arg in args if isinstance(arg, _COUNTED)) // _COPIED)
        self.stack.append(function.make(*args))

    def build(self) -> None:
        """Give a stub the state that its object was pickled with."""
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is OrderedDict:  # torch notes versions of modules on it
            return
        if not isinstance(target, Stub):
            raise pickle.UnpicklingError(f"a state for {type(target).__name__}, which takes none")
        if not _is_own_dict(state):
            target.stub_state = state
            return
        self.spend(len(state) // _COPIED)
        vars(target).update((key, value) for key, value in state.items() if type(key) is str)


def _is_own_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    return type(value) is dict  # no subclass


def _is_own_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list  # no subclass


def set_items(target: Any, pairs: Iterable[tuple[Any, Any]]) -> None:  # noqa: ANN401  (whatever a machine made)
    """Fill a mapping that a machine made.

    Raises:
        pickle.UnpicklingError: If it is something else, or a key is no scalar.
    """
    if type(target) not in (dict, OrderedDict):
        raise pickle.UnpicklingError(f"items for {type(target).__name__}, which takes none")
    for key, value in pairs:
        if type(key) not in _KEYS:
            raise pickle.UnpicklingError(f"a key that is {type(key).__name__}; expected a text or a number")
        target[key] = value


def _append(target: object, items: list[Any]) -> None:
    if not _is_own_list(target):
        raise pickle.UnpicklingError(f"items for {type(target).__name__}, which takes none")
    target += items


def _pairs(items: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(items[::2], items[1::2], strict=True)


def _push(machine: Machine, value: object) -> None:
    machine.stack.append(value)


def _mark(machine: Machine, _: None) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine, _: None) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _last(count: int) -> Callable[[Machine, None], None]:
    def step(machine: Machine, _: None) -> None:
        if len(machine.stack) < count:
            raise pickle.UnpicklingError("an empty stack")
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return step


def _dict(machine: Machine, _: None) -> None:
    made: dict[Any, Any] = {}
    set_items(made, _pairs(machine.marked()))
    machine.stack.append(made)


def _set_item(machine: Machine, _: None) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    set_items(machine.stack[-1], [(key, value)])


def _set_marked(machine: Machine, _: None) -> None:
    items = machine.marked()
    set_items(machine.stack[-1], _pairs(items))


def _append_one(machine: Machine, _: None) -> None:
    item = machine.stack.pop()
    _append(machine.stack[-1], [item])


def _append_marked(machine: Machine, _: None) -> None:
    items = machine.marked()
    _append(machine.stack[-1], items)


def _global(machine: Machine, name: str) -> None:
    machine.stack.append(machine.find(*name.split(" ", 1)))


def _stack_global(machine: Machine, _: None) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.find(str(module), str(name)))


def _inst(machine: Machine, name: str) -> None:
    function = machine.find(*name.split(" ", 1))
    machine.call(function, tuple(machine.marked()))


def _obj(machine: Machine, _: None) -> None:
    function, *args = machine.marked()
    machine.call(function, tuple(args))


def _reduce(machine: Machine, _: None) -> None:
    args, function = machine.stack.pop(), machine.stack.pop()
    machine.call(function, args)


def _put(machine: Machine, index: int | None) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


_CONSTANTS = (
    *("INT", "LONG", "FLOAT", "STRING", "UNICODE"),  # of protocol 0
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE"),
)
_STEPS: dict[str, Callable[[Machine, Any], object]] = {
    **dict.fromkeys(_CONSTANTS, _push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.stack.append(machine.memo[index])),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _reduce),
    "NONE": _push,
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.marked())),
    "LIST": lambda machine, _: _push(machine, machine.marked()),
    "DICT": _dict,
    "TUPLE1": _last(1),
    "TUPLE2": _last(2),
    "TUPLE3": _last(3),
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": lambda machine, _: machine.marked() and None,
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "APPEND": _append_one,
    "APPENDS": _append_marked,
    "SETITEM": _set_item,
    "SETITEMS": _set_marked,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _inst,
    "OBJ": _obj,
    "BUILD": lambda machine, _: machine.build(),
    "PERSID": lambda machine, identifier: machine.stack.append(machine.load(identifier)),
    "BINPERSID": lambda machine, _: machine.stack.append(machine.load(machine.stack.pop())),
}
