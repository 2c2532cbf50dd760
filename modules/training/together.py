"""Several processes train one network: each goes its own way for some steps, then all take the mean of their weights.

On a shared CPU this beats threads inside each operation, which wait for one another thousands of times a step
(local SGD: Stich 2018, arXiv:1805.09767, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters


@dataclass
class Together:
    """What the workers share: a row of weights each, a place to wait, and whether the first has had enough."""

    count: int
    rows: Tensor
    barrier: Any
    over: Tensor

    @classmethod
    def of(cls, count: int, numbers: int) -> Together:
        """For `count` workers on a network of `numbers` trained weights."""
        barrier = multiprocessing.get_context("spawn").Barrier(count)
        rows = torch.zeros(count, numbers).share_memory_()
        return cls(count, rows, barrier, torch.zeros(1).share_memory_())

    @torch.no_grad()
    def average(self, rank: int, parameters: Iterable[nn.Parameter], is_over: bool) -> bool:
        """Replace this worker's weights by the mean over all; True when worker 0 says that it is over."""
        mine = list(parameters)
        self.rows[rank] = parameters_to_vector(mine)
        if rank == 0:
            self.over.fill_(float(is_over))
        self.barrier.wait()
        mean, over = self.rows.mean(0), bool(self.over.item())
        self.barrier.wait()
        vector_to_parameters(mean, mine)
        return over
