"""The processes of one training: a single one, or those that torchrun started.

Nothing here is needed to train on one device. ``torchrun --nproc-per-node N jobs/train.py ...`` sets the environment
variables that `joined` reads; every process then runs the same program on its share of each batch.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.core.errors import ErrorCode, ProcessLost, StageError

STALLED_AFTER = datetime.timedelta(seconds=120)  # a process that answers none for so long has died (N13)
SAVED_WITHIN = datetime.timedelta(seconds=3600)  # the others wait so long for the one that writes (N20)


@dataclass
class World:
    """How many processes train together, and which of them this is. The first one writes."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine: the number of its GPU
    _patient: dist.ProcessGroup | None = field(default=None, init=False, repr=False)  # waits for a save

    @classmethod
    def of_environment(cls) -> World:
        """As torchrun says; alone where it says nothing."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return cls(*(int(os.environ[name]) for name in names)) if all(name in os.environ for name in names) else cls()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @contextlib.contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """The processes can talk to each other while the block runs.

        ProcessLost where one is gone. The group is then left as it is: taking it down may wait for the dead one.
        """
        if self.size == 1:
            yield
            return
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=STALLED_AFTER)
        self._patient = dist.new_group(backend="gloo", timeout=SAVED_WITHIN)
        is_lost = False
        try:
            yield
        except RuntimeError as error:
            is_lost = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
            if is_lost:
                raise ProcessLost(
                    ErrorCode.RANK_FAILED,
                    f"process {self.rank} of {self.size} lost another one ({str(error).splitlines()[0][:120]}); "
                    "start them again, the last checkpoint is whole",
                ) from error
            raise
        finally:
            if not is_lost:
                dist.destroy_process_group()

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network, its gradients averaged over all processes."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)

    def gather(self, share: Tensor) -> Tensor:
        """The shares of all processes, one below the other in order of rank; gradients flow back to their owners."""
        gathered: Callable[[Tensor, World], Tensor] = _Gather.apply
        return share if self.size == 1 else gathered(share, self)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, the same on each."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def max(self, number: int) -> int:
        """The largest of all processes' numbers, the same on each."""
        if self.size == 1:
            return number
        largest = torch.tensor(number, device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def require_equal(self, step: int) -> None:
        """StageError ``rank_failed`` unless all processes begin at this step: they must read the same checkpoint."""
        first, last = -self.max(-step), self.max(step)
        if first != last:
            raise StageError(
                ErrorCode.RANK_FAILED,
                f"process {self.rank} begins at step {step}, others at {first} to {last}: "
                "they see different checkpoints; let all share one output",
            )

    def wait_for_first(self) -> None:
        """Until the first process is here too, which may have been writing for long."""
        if self.size > 1:
            dist.barrier(self._patient)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, share: Tensor, world: World) -> Tensor:
        context.world = world
        shares = [torch.empty_like(share) for _ in range(world.size)]
        dist.all_gather(shares, share.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Every process has used every share: its gradient is the sum of all that they found."""
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(context.world.size)[context.world.rank], None
