"""One process a device: set up by `torchrun`, or a single process without it."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Process:
    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module, *, in_turns: bool = False) -> nn.Module:
        """`model`, averaging gradients over all processes; `in_turns`: not every parameter is used in every step."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model, find_unused_parameters=in_turns)

    def others(self, tensor: Tensor) -> Tensor:
        """The rows that the other processes have, without gradient; all processes have as many, in the same shape."""
        if self.world_size == 1:
            return tensor[:0].detach()
        rows = [torch.empty_like(tensor) for _ in range(self.world_size)]
        distributed.all_gather(rows, tensor.detach().contiguous())
        return torch.cat([*rows[: self.rank], *rows[self.rank + 1 :]])


def start() -> Process:
    """Joins the process group that `torchrun` describes in the environment, if it does."""
    world_size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if world_size > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Process(rank, world_size, device)


def stop() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
