"""The report's listing and equations, as printed."""

import torch

from handgrad import mini, nn

LISTING = """
model = sequential(
    Linear(input_size = 2, output_size = 25),
    ReLU(),
    batchNormalization(batchSize, input_size = 25),
    Linear(input_size = 25, output_size = 25),
    ReLU(),
    batchNormalization(batchSize, input_size = 25),
    Linear(input_size = 25, output_size = 25),
    ReLU(),
    batchNormalization(batchSize, input_size = 25),
    Linear(input_size = 25, output_size = 2))
"""


def listing():
    names = {name: getattr(mini, name) for name in mini.__all__} | {"batchSize": 500}
    exec(LISTING, names)
    return names["model"]


def test_the_listing_runs_and_trains():
    torch.manual_seed(1)  # with this loss and rate, some initial weights diverge, in torch.nn too
    model = listing()
    criterion, optimizer = mini.MSELoss(), mini.SGD(model.parameters(), lr=0.06)
    x = torch.rand(500, 2)
    inside = ((x - 0.5).square().sum(1) < 1 / (2 * torch.pi)).long()
    t = torch.nn.functional.one_hot(inside, 2).float()
    losses = []
    for _ in range(100):
        model.train()
        optimizer.zeros_grad()
        losses.append(criterion.forward(model.forward(x), t).item())
        model.backward(criterion.backward())
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]
    model.test()
    assert not any(part.training for part in model.modules())
    assert (model(x).argmax(1) == inside).float().mean() > 0.9


def test_every_weight_and_bias_is_unit_gaussian():
    torch.manual_seed(0)
    layer = mini.Linear(input_size=300, output_size=400)
    assert layer.bias is not None
    for value in (layer.weight.value, layer.bias.value):
        n = value.numel()
        assert abs(value.mean()) < 4 / n**0.5
        assert abs(value.std() - 1) < 4 / (2 * n) ** 0.5


def test_relu_has_derivative_one_at_zero_and_nn_has_zero():
    x, dy = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([3.0, 5.0, 7.0])
    for relu, expected in ((mini.ReLU(), [0.0, 5.0, 7.0]), (nn.ReLU(), [0.0, 0.0, 7.0])):
        assert relu(x).tolist() == [0, 0, 2]
        assert relu.backward(dy).tolist() == expected


def test_the_loss_sums_over_outputs_and_averages_over_samples():
    y, t = torch.randn(7, 3), torch.randn(7, 3)
    criterion = mini.MSELoss()
    torch.testing.assert_close(criterion(y, t), ((y - t) ** 2).sum() / 7)
    torch.testing.assert_close(criterion.backward(), 2 / 7 * (y - t))


def test_sgd_has_the_reports_default_rate():
    assert mini.SGD(listing().parameters()).param_groups[0]["lr"] == 0.01
