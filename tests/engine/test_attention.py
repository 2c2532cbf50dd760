"""Attention functions by name: slices are the whole, and what is not installed is not offered."""

import pytest
import torch

from modules.engine import attention


def test_slices_are_the_whole():
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, tokens, 16, generator=draw) for tokens in (2500, 77, 77))
    whole = attention.FUNCTIONS["sdpa"](q, k, v)
    torch.testing.assert_close(attention.sliced(q, k, v), whole, atol=1e-6, rtol=1e-5)


def test_a_function_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        attention.offered("never")


def test_only_what_can_be_imported_is_offered():
    for name in attention.installed():
        assert callable(attention.offered(name))
