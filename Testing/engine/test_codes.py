"""Classes go to codes and back unchanged, and the probabilities in between are those of the channels."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from meddiff.codes import CODES, channels, decode, encode, encode_soft
from meddiff.errors import BadInput


@given(st.sampled_from(CODES), st.integers(2, 9), st.integers(0, 2**31 - 1))
def test_every_class_comes_back(code: str, classes: int, seed: int) -> None:
    labels = torch.randint(classes, (2, 3, 4, 5), generator=torch.Generator().manual_seed(seed))
    x = encode(labels, classes, code)
    assert x.shape == (2, channels(classes, code), 3, 4, 5) and set(x.unique().tolist()) <= {-1.0, 1.0}
    found = decode(x, classes, code)
    assert torch.equal(found.argmax(1), labels) and torch.equal(found.amax(1), torch.ones(2, 3, 4, 5))


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
def test_bits_are_the_numbers_in_base_two(classes: int) -> None:
    bits = (encode(torch.arange(classes)[None], classes, "bits")[0] + 1) / 2
    assert len(bits) == (classes - 1).bit_length()
    assert (bits * 2.0 ** torch.arange(len(bits))[:, None]).sum(0).tolist() == list(range(classes))


def by_hand(x: list[float], classes: int) -> list[float]:
    """The probabilities of independent bits, of those numbers alone that are classes."""
    ones = [min(max((v + 1) / 2, 0), 1) for v in x]
    share = {}
    for bits in itertools.product((0, 1), repeat=len(x)):
        number = sum(bit << k for k, bit in enumerate(bits))
        value = 1.0
        for bit, one in zip(bits, ones, strict=True):
            value *= one if bit else 1 - one
        share[number] = value
    total = sum(share[k] for k in range(classes))
    return [share[k] / total for k in range(classes)]


def test_noisy_bits_are_probabilities() -> None:
    x = 0.9 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).clamp(-1, 1)
    found = decode(x, 6, "bits")
    expected = torch.tensor([by_hand(row, 6) for row in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("code", CODES)
def test_the_mean_of_codes_is_the_code_of_the_mean(code: str) -> None:
    classes, g = 5, torch.Generator().manual_seed(0)
    p = torch.rand(4, classes, 6, generator=g, dtype=torch.float64)
    p = p / p.sum(1, keepdim=True)
    each = [encode(torch.full((4, 6), k), classes, code).double() for k in range(classes)]
    expected: Tensor = torch.stack([p[:, [k]] * each[k] for k in range(classes)]).sum(0)
    torch.testing.assert_close(encode_soft(p, code), expected)
    if code == "one-hot":
        torch.testing.assert_close(decode(encode_soft(p, code), classes, code), p)


@pytest.mark.parametrize("code", CODES)
def test_what_says_nothing_is_every_class_alike(code: str) -> None:
    silent = torch.full((1, channels(4, code), 2), -1.0 if code == "one-hot" else 0.0)
    assert torch.equal(decode(silent, 4, code), torch.full((1, 4, 2), 0.25))


@pytest.mark.parametrize("value", [-1, 3])
def test_labels_that_are_no_class_are_refused(value: int) -> None:
    with pytest.raises(BadInput, match="expected 0 to 2"):
        encode(torch.tensor([[value, 0]]), 3, "one-hot")
    with pytest.raises(BadInput, match="unknown code of classes 'onehot'; did you mean one-hot"):
        channels(3, "onehot")
