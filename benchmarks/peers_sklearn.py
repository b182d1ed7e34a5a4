"""scikit-learn's MLPRegressor: the same network without BatchNorm, which it has not.

MLPClassifier has no squared error. MLPRegressor's is half of the mean over samples and outputs, but its gradient is
that of half the sum over outputs: with two outputs just that of torch's MSE. It shuffles by a generator of its own,
which is counted, so the losses agree in size only, unless a batch is all data.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from benchmarks.problem import Problem
from benchmarks.timing import Contestant, Outcome, Unavailable


def rounds(problem: Problem, threads: int) -> Contestant:
    """One round after another.

    Errors: Unavailable without scikit-learn.
    """
    assert not problem.batchnorm, "scikit-learn has no BatchNorm"
    try:
        import sklearn
        from sklearn.neural_network import MLPRegressor
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise Unavailable(f"scikit-learn is not installed ({error})") from None
    options = problem.options
    x, t = problem.data.x.numpy(), problem.data.t.numpy()
    fresh = [_regressor(MLPRegressor, problem, r) for r in range(options.rounds)]
    models: list[Any] = []

    def reset() -> None:
        models[:] = copy.deepcopy(fresh)

    def run() -> Outcome:
        with threadpool_limits(threads, user_api="blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the epochs ended before convergence, which was the wish
            for r, model in enumerate(models):
                model.fit(x[r], t[r])
        return Outcome([2 * model.loss_ for model in models])

    setting = f"scikit-learn {sklearn.__version__}, {threads} BLAS thread" + "s" * (threads > 1)
    return Contestant("scikit-learn MLPRegressor", run, reset, setting)


def _regressor(kind: Any, problem: Problem, r: int) -> Any:
    """A regressor that goes on from round r's initial weights."""
    options = problem.options
    settings: dict[str, Any] = {"solver": "sgd", "learning_rate_init": options.lr, "momentum": 0.0, "alpha": 0.0}
    settings |= {"nesterovs_momentum": False, "batch_size": options.batch_size, "random_state": r, "warm_start": True}
    settings |= {"tol": 0.0, "n_iter_no_change": 10**9}  # no early end
    weights = [v[r] for k, v in problem.state.items() if k.endswith("weight")]
    biases = [v[r] for k, v in problem.state.items() if k.endswith("bias")]
    hidden = tuple(len(bias) for bias in biases[:-1])
    model = kind(hidden_layer_sizes=hidden, max_iter=1, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(problem.data.x[r].numpy(), problem.data.t[r].numpy())  # sets up what warm_start goes on from
    model.coefs_ = [weight.numpy().T.copy() for weight in weights]
    model.intercepts_ = [bias.numpy().copy() for bias in biases]
    return model.set_params(max_iter=options.epochs)
