"""A run that is killed at any moment goes on from its checkpoints and ends bit for bit where it would have ended."""

import os
import random
import signal
import sys
import time

import pytest
import torch

from handgrad import nn, optim
from handgrad.data import Batches
from handgrad.optim import swa_utils
from handgrad.training import Checkpoints, EarlyStopping, Evaluation, Trainer, train_replicas

X = torch.linspace(-1, 1, 48).unsqueeze(1)
T = X**2 + 0.3 * torch.sin(20 * X)
SEEDS = [3, 5, 137]
KILLS = 50
EPOCHS = 60
NOTED = [signal.SIGINT, signal.SIGTERM]


def build(seeds):
    torch.manual_seed(0)
    hidden = [nn.Linear(1, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2)]
    return nn.replicate(nn.Sequential(*hidden, nn.Linear(8, 1)), seeds)


def run(folder):
    """Groups of two and one replicas, with everything that has a state, into folder/result.pt."""

    def trainer(model, seeds):
        adam = optim.AdamW(model.parameters(), lr=0.05)
        criterion = nn.MSELoss(replicas=len(seeds))
        return Trainer(
            model,
            criterion,
            adam,
            Batches(X, T, 16, seeds),
            EPOCHS,
            metrics=Evaluation(X, T, criterion, prefix="validation_"),
            schedule=optim.lr_scheduler.CosineAnnealingWarmRestarts(adam, 7),
            stopping=EarlyStopping(patience=EPOCHS - 5),
            average=swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9)),
            checkpoints=Checkpoints(folder / f"group-{seeds[0]}"),
        )

    model, history = train_replicas(build, trainer, SEEDS, size=2, workers_=2)
    torch.save([dict(model.state_dict()), history.loss, history.metrics, history.best], folder / "result.pt")
    return history


def forked(folder):
    """The run in a process of its own, which a signal ends outright where no run notes it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NOTED)
    process = os.fork()
    if process == 0:
        code = 1
        try:
            for number in NOTED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, NOTED)
            code = 3 if run(folder).interrupted else 0
        finally:
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NOTED)
    return process


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:os.fork:RuntimeWarning")
def test_killed_at_fifty_moments_a_run_ends_where_it_would_have_ended(tmp_path):
    (tmp_path / "whole").mkdir()
    start = time.perf_counter()
    assert os.waitstatus_to_exitcode(os.waitpid(forked(tmp_path / "whole"), 0)[1]) == 0
    seconds = time.perf_counter() - start
    whole = torch.load(tmp_path / "whole" / "result.pt")
    kills, rounds, chance = 0, 0, random.Random(0)
    while kills < KILLS:
        folder = tmp_path / f"round-{rounds}"
        folder.mkdir()
        rounds += 1
        while True:
            process = forked(folder)
            time.sleep(chance.uniform(0, 0.5) * seconds)
            number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            os.kill(process, number)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            kills += code != 0
            assert code in (0, 3, -number)
            if code == 0 or kills >= KILLS:
                break
        if code != 0:
            assert os.waitstatus_to_exitcode(os.waitpid(forked(folder), 0)[1]) == 0
        parts = torch.load(folder / "result.pt")
        for name, value in whole[0].items():
            assert torch.equal(value, parts[0][name]), name
        assert torch.equal(whole[1], parts[1])
        assert all(torch.equal(value, parts[2][name]) for name, value in whole[2].items())
        assert whole[3] == parts[3]
    assert rounds > 1
