"""Several processes that train one model, each on its share of every batch, through Lightning and torch.distributed.

The processes join before anything else is done, so that files are read, folders made and lines printed once.
`--batch-size` is the batch of all processes together, and two of them follow one at the same batch size: the loss is
divided by the matches of the whole batch (`models.loss`), where YOLOv5 averages what each process found for its share.
Batch normalisation sees a process's share alone unless --sync-bn is given.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from engine.runtime.device import select_device, select_devices
from engine.runtime.launcher import Place, place

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

T = TypeVar("T")

# How long a process waits for the others: they draw data, cache images and validate at their own pace.
TIMEOUT = timedelta(hours=3)


@dataclass(frozen=True)
class Processes:
    """The processes of a run and this one's place among them; by default one process alone.

    Attributes:
        devices: Of this machine, one for each of its processes.
        rank: Number of this process.
        world: Number of processes.
        local_rank: Number of this process on its machine.
        nodes: Number of machines.
        environment: What Lightning is told about the launcher.
        host: The group through which plain data go.
    """

    devices: tuple[torch.device, ...] = (torch.device("cpu"),)
    rank: int = 0
    world: int = 1
    local_rank: int = 0
    nodes: int = 1
    environment: ClusterEnvironment | None = None
    host: distributed.ProcessGroup | None = None

    @property
    def main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """This process's device."""
        return self.devices[self.local_rank]

    def share_of(self, batch_size: int) -> int:
        """A process's images of a batch.

        Raises:
            ValueError: If the batch cannot be dealt out evenly.
        """
        if batch_size == -1 and self.world > 1:
            raise ValueError(f"--batch-size -1: is found for one process only; for {self.world} give a number, e.g. 64")
        if batch_size % self.world:
            lower = batch_size // self.world * self.world
            near = f"{lower} or {lower + self.world}" if lower else str(self.world)
            raise ValueError(
                f"--batch-size {batch_size}: is shared by {self.world} processes, so expected a multiple of "
                f"{self.world}; try {near}"
            )
        return batch_size // self.world

    def mean(self, values: Sequence[float]) -> list[float]:
        """The mean over the processes of each value; waits for all of them."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total, group=self.host)
        return (total / self.world).tolist()

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Put the mean over the processes into float tensors, in one exchange."""
        tensors = list(tensors)
        if self.world == 1 or not tensors:
            return
        total = torch.cat([tensor.detach().flatten() for tensor in tensors])
        distributed.all_reduce(total)
        parts = total.div_(self.world).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def gather(self, value: T) -> list[T]:
        """What every process hands in, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value, group=self.host)
        return values

    def from_main(self, make: Callable[[], T]) -> T:
        """Let process 0 alone make something, and hand it to all.

        Raises:
            ValueError: In every process, if it was raised in process 0.
        """
        if self.world == 1:
            return make()
        made: list[Any] = [None, None]
        if self.main:
            try:
                made[0] = make()
            except ValueError as error:
                made[1] = error
        distributed.broadcast_object_list(made, src=0, group=self.host)
        if made[1] is not None:
            raise made[1]
        return made[0]

    @contextmanager
    def in_turns(self) -> Iterator[None]:
        """First process 0, then one of each other machine, then the rest; for files that the first one makes."""
        turn = 0 if self.main else 1 if self.local_rank == 0 else 2
        for _ in range(turn):
            self.mean([0.0])
        try:
            yield
        finally:
            for _ in range(2 - turn):
                self.mean([0.0])

    def trainer_options(self, sync_bn: bool) -> dict[str, Any]:
        """Lightning's strategy and devices."""
        device = self.device
        kind = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device.type]
        numbers = [device.index for device in self.devices] if device.type == "cuda" else len(self.devices)
        if self.world == 1:
            return {"accelerator": kind, "devices": numbers}
        from lightning.pytorch.strategies import DDPStrategy

        # The running statistics of each process are averaged once an epoch, not sent before every batch.
        strategy = DDPStrategy(timeout=TIMEOUT, broadcast_buffers=False)
        return {
            "accelerator": kind,
            "devices": numbers,
            "num_nodes": self.nodes,
            "strategy": strategy,
            "plugins": [self.environment],
            "use_distributed_sampler": False,  # the loaders' own deals out the images
            "sync_batchnorm": sync_bn and device.type == "cuda",  # on the CPU: models.normalisation
        }


ALONE = Processes()


def running_statistics(model: nn.Module) -> list[Tensor]:
    """The running means and variances of a model's batch normalisations."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    statistics = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
    return [tensor for tensor in statistics if tensor is not None]


def rebuild_gradient_exchange(trainer: pl.Trainer) -> None:
    """Exchange the gradients of what is trained now: the exchange is laid out for the parameters it was begun with."""
    from lightning.pytorch.strategies import DDPStrategy

    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy.model = trainer.strategy.lightning_module
        trainer.strategy.configure_ddp()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes of this run, started or joined; all but process 0 print nothing to stdout.

    Args:
        device: `--device`: several GPUs start a process for each, unless a launcher has started them.

    Raises:
        ValueError: If the devices do not exist or are not as many as the processes.
    """
    here = place()
    devices = _devices(device, here)
    if len(devices) * here.nodes == 1:
        yield Processes(tuple(devices))
        return
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    kind = "gpu" if devices[0].type == "cuda" else "cpu"
    numbers = [device.index for device in devices] if kind == "gpu" else len(devices)
    environment = _environment(here)
    strategy = DDPStrategy(timeout=TIMEOUT)
    with _quiet():
        fabric = Fabric(
            accelerator=kind, devices=numbers, num_nodes=here.nodes, strategy=strategy, plugins=[environment]
        )
        fabric.launch()
    host = None
    if distributed.get_backend() != "gloo":
        # None and numbers stand for groups that this process is not in; this one holds all.
        host = cast("distributed.ProcessGroup", distributed.new_group(backend="gloo", timeout=TIMEOUT))
    processes = Processes(
        tuple(devices), fabric.global_rank, fabric.world_size, fabric.local_rank, here.nodes, environment, host
    )
    with ExitStack() as stack:
        launcher: Any = strategy.launcher  # of processes; its class is private
        stack.enter_context(_ending(launcher.procs))
        if not processes.main:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        yield processes


def _devices(text: str, here: Place) -> list[torch.device]:
    """A device for each process of this machine."""
    devices = select_devices(text)
    if here.launcher in ("", "parent"):
        return devices
    count = here.local_world
    if len(devices) == 1 and devices[0].type == "cpu":
        return devices * count
    if not text.strip():
        devices = [select_device(str(number)) for number in range(count)]
    if len(devices) != count:
        raise ValueError(
            f"--device {text}: {here.launcher} runs {count} processes on this machine, so expected {count} devices, "
            f"e.g. --device {','.join(map(str, range(count)))}, but got {len(devices)}"
        )
    return devices


def _environment(here: Place) -> ClusterEnvironment:
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if here.launcher == "torchrun":
        return TorchElasticEnvironment()
    if here.launcher == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


@contextmanager
def _quiet() -> Iterator[None]:
    logs = [logging.getLogger(f"lightning.{part}") for part in ("fabric", "pytorch")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


@contextmanager
def _ending(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End the processes that this one has started if it fails, so that none of them waits for it."""
    try:
        yield
    except BaseException:
        ended = list(children)
        children.clear()  # Lightning's observer of this list would kill this process when a child ends like that
        for child in ended:
            child.terminate()
        raise
