"""Products of few columns are turned, sums over few places taken by the batch first, and give the same numbers."""

import pytest
import torch

from handgrad.nn import products
from handgrad.nn.sums import FEW, channel_sums

SIZES = [(m, k, n) for m, k in ((500, 25), (25, 500), (16, 256), (15, 273), (4096, 1), (1, 1)) for n in (1, 2, 15, 16)]


@pytest.mark.parametrize("replicas", [None, 1, 3])
@pytest.mark.parametrize(("m", "k", "n"), SIZES)
@pytest.mark.parametrize("turned", [False, True])
def test_products_of_every_width(m, k, n, replicas, turned):
    lead = () if replicas is None else (replicas,)
    generator = torch.Generator().manual_seed(m + n)
    a = torch.randn(*lead, m, k, generator=generator, dtype=torch.float64)
    a = a.mT.contiguous().mT if turned else a
    b, bias = (torch.randn(*lead, *s, generator=generator, dtype=torch.float64) for s in ((k, n), (n,)))
    expected = torch.einsum("...mk,...kn->...mn", a, b)
    for found, right in (
        (products.product(a, b), expected),
        (products.affine(a, b, None), expected),
        (products.affine(a, b, bias), expected + bias.unsqueeze(-2)),
    ):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
        assert found.is_contiguous()


def test_both_ways_are_tried_above():
    """At least one size on each side of every condition, so that no way goes untested."""
    found = {products._narrow(torch.empty(m, k), torch.empty(k, n)) for m, k, n in SIZES}
    assert found == {True, False}
    assert products._narrow(torch.empty(2, 500, 25), torch.empty(2, 25, 1))
    assert not products._narrow(torch.empty(500, 25), torch.empty(25, 1))


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("places", [(), (1,), (FEW - 1,), (FEW,), (2, 2), (7, 9), (8, 8), (9, 11)])
def test_sums_over_batch_and_places(places, folded, replicas):
    """On either side of the bound, also with the replicas folded into the channels, as a convolution leaves them."""
    generator = torch.Generator().manual_seed(len(places))
    shape = (6, replicas or 1, 5, *places) if folded else (replicas or 1, 6, 5, *places)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = x.transpose(0, 1) if folded else x
    expected = torch.einsum("rnc...->rc", x)
    found = channel_sums(x if replicas else x[0], len(places))
    torch.testing.assert_close(found, expected if replicas else expected[0], rtol=1e-12, atol=1e-12)
