"""`python -m examples.initialisation`: the report's network from every initialisation, and docs/initialisation.md."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from handgrad import nn
from handgrad.distribution import Distribution
from handgrad.experiments import disk, torch_peer
from handgrad.files import write_atomically
from handgrad.training import History
from handgrad.workers import one_thread

INITS: dict[str, str | nn.init.Initialiser] = {
    "`pytorch`, the default of `nn.Linear`": "pytorch",
    "`gaussian`, weight and bias N(0, 1): the report's": "gaussian",
    "N(0, 1), bias 0": nn.init.gaussian(1.0, 0.0),
    "N(0, 0.5²), bias 0": nn.init.gaussian(0.5, 0.0),
    "`lecun_normal`": "lecun_normal",
    "`lecun_uniform`": "lecun_uniform",
    "`xavier_normal`": "xavier_normal",
    "`xavier_uniform`": "xavier_uniform",
    "`kaiming_normal`": "kaiming_normal",
    "`kaiming_uniform`": "kaiming_uniform",
}
BEGIN, END = "<!-- written by python -m examples.initialisation -->", "<!-- end -->"


def main(
    rounds: Annotated[int, typer.Option(min=5, help="Of each row, paired by their seeds.")] = 200,
    epochs: Annotated[int, typer.Option(min=1, help="Of each round.")] = 50,
    output: Annotated[Path | None, typer.Option(help="Folder of initialisation.md, whose table is replaced.")] = None,
) -> None:
    """Train the report's network from every initialisation, and torch.nn's, over the same rounds."""
    found = table(disk.Options(rounds=rounds, epochs=epochs))
    print(found)
    if output is not None:
        page = (output / "initialisation.md").read_text(encoding="utf-8")
        before, rest = page.split(BEGIN, 1)
        write_atomically(output / "initialisation.md", f"{before}{BEGIN}\n{found}\n{END}{rest.split(END, 1)[1]}")


def table(options: disk.Options) -> str:
    """Accuracy of each row, and beside torch.nn's, paired by round, its difference and its spread."""
    data = disk.data(options)
    head = "| initialisation | accuracy | minus torch.nn, paired by round | std, as a multiple of torch.nn's |"
    lines = [head, "|---|---|---|---|"]
    with one_thread():
        models = [torch_peer.network(options, seed) for seed in options.seeds]
        peer = accuracies(torch_peer.train(models, data, options), options)
        lines.append(f"| torch.nn | {told(peer)} | | |")
        for name, init in INITS.items():
            build = partial(disk.network, options, init, True)
            own = accuracies(disk.train_rounds(build, data, options), options)
            by, spread = own.compare(peer), own.spread_ratio(peer)
            apart = f"{by.mean:+.2f} ({by.low:+.2f} to {by.high:+.2f})".replace("-", "−")
            lines.append(
                f"| {name} | {told(own)} | {apart} | {spread.ratio:.2f} ({spread.low:.2f} to {spread.high:.2f}) |"
            )
    return "\n".join(lines)


def accuracies(history: History, options: disk.Options) -> Distribution:
    """Test accuracy at the end, in percent."""
    last = 100 * history.metrics["test_accuracy"][:, -1]
    return Distribution(tuple(last.tolist()), tuple(options.seeds))


def told(d: Distribution) -> str:
    """Mean ± standard deviation."""
    return f"{d.mean:.2f} ± {d.std:.2f}"


if __name__ == "__main__":
    typer.run(main)
