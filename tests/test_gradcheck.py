"""gradcheck is itself checked with rules that are wrong by 0.1 %, or in one term, or at one element."""

import pytest
import torch

from handgrad import nn, testing
from handgrad.errors import ArgumentError, GradcheckError
from handgrad.testing import gradcheck


class Wrong(nn.Module):
    """y = x² with one fault in its gradient."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def forward(self, x):
        return self.keep(x * x, x)

    def backward(self, dy):
        (x,) = self.take(dy)
        return self.fault(2 * x * dy)


class WrongBias(nn.Linear):
    def _backward_own(self, x, dy):
        dy = super()._backward_own(x, dy)
        assert self.bias is not None
        self.bias.add_grad(0.001 * dy.sum(-2))
        return dy


class WithoutVarianceTerm(nn.BatchNorm1d):
    """The classic slip, which an upstream gradient of ones does not notice."""

    def backward(self, dy):
        _, inv, _, dims, *_ = self.kept or ()
        super().backward(dy)
        return inv * (dy - dy.mean(dims, keepdim=True))


def one_element(dx):
    dx[2, 1] *= 1.001
    return dx


def test_a_right_gradient_passes_and_is_reported():
    report = gradcheck(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4)), torch.randn(6, 3))
    assert [c.name for c in report.checked] == ["input", "0.weight", "0.bias", "2.weight", "2.bias"]
    assert report.error < 1e-6
    assert str(report).count("relative error") == 5


@pytest.mark.parametrize("replicas", [None, 3])
def test_a_parameter_gradient_wrong_by_a_thousandth_is_found(replicas):
    lead = () if replicas is None else (replicas,)
    with pytest.raises(GradcheckError, match=r"Linear 3→2, bias: expected .* by central differences, got .*1\.0e-03"):
        gradcheck(WrongBias(3, 2, replicas=replicas), torch.randn(*lead, 5, 3))


def test_an_input_gradient_wrong_by_a_thousandth_is_found():
    with pytest.raises(GradcheckError, match="input"):
        gradcheck(Wrong(lambda dx: 1.001 * dx), torch.randn(4, 3))


def test_the_worst_element_is_named():
    with pytest.raises(GradcheckError, match=r"at \(2, 1\)"):
        gradcheck(Wrong(one_element), torch.randn(4, 3) + 3)


def test_of_a_large_tensor_only_the_largest_gradients_are_searched(monkeypatch):
    monkeypatch.setattr(testing, "ELEMENTS", 3)
    with pytest.raises(GradcheckError, match=r"at \(2, 1\)"):
        gradcheck(Wrong(one_element), torch.arange(12.0).view(4, 3).index_fill(0, torch.tensor(2), 20.0))


def test_directions_are_drawn_by_the_generator():
    generator = torch.Generator()
    before = generator.get_state()
    gradcheck(nn.Tanh(), torch.randn(4, 3), generator=generator)
    assert not torch.equal(generator.get_state(), before)


def test_a_missing_term_that_ones_do_not_notice_is_found():
    with pytest.raises(GradcheckError, match="Derive that term again"):
        gradcheck(WithoutVarianceTerm(3), torch.randn(8, 3))


@pytest.mark.parametrize("at", [0.0, 2e-7])
def test_a_kink_is_called_a_kink(at):
    x = torch.tensor([[at, 1.0]], dtype=torch.float64)
    with pytest.raises(GradcheckError, match="kink"):
        gradcheck(nn.ReLU(), x)


def test_a_wrong_rule_is_not_called_a_kink():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(Wrong(lambda dx: 2 * dx), torch.randn(4, 3))
    assert "kink" not in str(caught.value)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(GradcheckError, match=r"shape \(4, 3\)"):
        gradcheck(Wrong(lambda dx: dx[:1]), torch.randn(4, 3))


def test_non_finite_outputs_are_refused():
    with pytest.raises(ArgumentError, match="finite"):
        gradcheck(Wrong(lambda dx: dx), torch.tensor([[float("inf")]]))


def test_the_module_stays_as_it_is():
    module = nn.BatchNorm1d(3)
    before = module.state_dict()
    gradcheck(module, torch.randn(5, 3))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [(p.grad, p.value.dtype) for p in module.parameters()] == [(None, torch.float32)] * 2


@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean", "none"])
def test_losses_are_checked_by_their_predictions(reduction):
    report = gradcheck(nn.MSELoss(reduction=reduction), torch.randn(4, 3), torch.randn(4, 3))
    assert [c.name for c in report.checked] == ["input"]


def test_inputs_shared_by_replicas_are_checked():
    gradcheck(nn.Linear(3, 2, replicas=4), torch.randn(5, 3))
    gradcheck(nn.Linear(3, 2, replicas=4), torch.randn(1, 5, 2, 3))


class Scaled(nn.Module):
    """K x², without a gradient for k."""

    def forward(self, k, x):
        return self.keep(k * x * x, k, x)

    def backward(self, dy):
        k, x = self.take(dy)
        return None, 2 * k * x * dy


def test_none_stands_for_an_input_without_a_gradient():
    report = gradcheck(Scaled(), torch.randn(4), torch.randn(4))
    assert len(report.checked) == 1


class Chosen(nn.Module):
    """x[i], with a gradient for x alone."""

    def forward(self, i, x):
        return self.keep(x[i], i, x)

    def backward(self, dy):
        i, x = self.take(dy)
        return torch.zeros_like(x).index_add(0, i, dy)


def test_gradients_are_those_of_inputs_that_are_no_integers():
    report = gradcheck(Chosen(), torch.tensor([0, 2, 2]), torch.randn(3))
    assert [c.name for c in report.checked] == ["input"]


def test_nothing_to_check_has_no_error():
    class Steps(nn.Module):
        def forward(self, k):
            return self.keep(k.double())

        def backward(self, dy):
            self.take(dy)

    assert gradcheck(Steps(), torch.arange(3)).error == 0
