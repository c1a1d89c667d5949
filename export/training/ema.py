"""Exponential moving average of a model's parameters."""

from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """Averages parameters in float32 and copies buffers (BatchNorm statistics are averages already).

    The decay warms up, min(decay, (1 + n) / (10 + n)), so that early averages do not remember the initialisation.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.decay, self.updates = decay, 0
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        parameters = {name for name, _ in model.named_parameters()}
        for name, value in model.state_dict().items():
            if name in parameters:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "state": self.state}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.updates = saved["updates"]
        state: dict[str, Tensor] = saved["state"]
        for name, value in state.items():
            self.state[name].copy_(value)
