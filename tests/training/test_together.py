"""Workers that train together end with the mean of their weights, and stop together."""

import threading

import torch
from torch import nn

from modules.training.together import Together


def average(modules: list[nn.Linear], is_over: bool) -> list[bool]:
    together = Together.of(len(modules), sum(p.numel() for p in modules[0].parameters()))
    said = [False] * len(modules)

    def work(rank: int) -> None:
        # only the first worker's word counts
        said[rank] = together.average(rank, modules[rank].parameters(), is_over if rank == 0 else not is_over)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(modules))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return said


def test_all_get_the_mean() -> None:
    modules = [nn.Linear(3, 2) for _ in range(3)]
    wanted = torch.stack([module.weight.detach().clone() for module in modules]).mean(0)
    assert average(modules, is_over=False) == [False] * 3
    for module in modules:
        assert torch.allclose(module.weight, wanted)


def test_all_stop_when_the_first_says_so() -> None:
    assert average([nn.Linear(3, 2) for _ in range(2)], is_over=True) == [True, True]
