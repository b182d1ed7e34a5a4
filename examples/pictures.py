"""`python -m examples.pictures`: the report of `handgrad train` on the breast cancer data, as pictures for the docs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from sklearn.datasets import load_breast_cancer

from handgrad import runs
from handgrad.cli.files import LOOKS
from handgrad.errors import ArgumentError
from handgrad.files import write_atomically
from handgrad.optional import require
from handgrad.recipes import Recipe

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, TOP = 1040, 965
"""In pixels: of the page, and how much of its beginning is shown."""


def main(
    output: Annotated[Path, typer.Option(help="Folder of images/.")],
    seeds: Annotated[int, typer.Option(min=2, help="Networks.")] = 20,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = Recipe.epochs,
) -> None:
    """Train, and photograph the beginning of the report and how its layers trained."""
    frame = load_breast_cancer(as_frame=True).frame
    frame["diagnosis"] = frame.pop("target").map({0: "malignant", 1: "benign"})
    recipe = Recipe(epochs=epochs, watch=-(-epochs // LOOKS))
    title = "Diagnosis from scikit-learn's breast cancer data"
    trained = runs.train(runs.prepare(frame, "diagnosis", range(seeds)), recipe, title=title)
    if trained is None:
        raise KeyboardInterrupt
    with tempfile.TemporaryDirectory() as place:
        for name, picture in photographed(runs.write(trained, Path(place) / "model") / "report.html").items():
            write_atomically(output / "images" / f"{name}.png", picture)


def photographed(page: Path) -> dict[str, bytes]:
    """Pictures of a report, as a browser shows it.

    Errors: ArgumentError without a browser.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ArgumentError(f"one of {', '.join(BROWSERS)}", "none", "Install Chromium.", "examples.pictures")
    with require("playwright.sync_api", "dev").sync_playwright() as playwright:
        opened: Any = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        seen = opened.new_page(viewport={"width": WIDTH, "height": TOP}, color_scheme="light")
        seen.goto(page.as_uri())
        parts = {"report_baselines": "#baselines .grid", "report_layers": "#training"}
        found = {"report": seen.screenshot()}
        found |= {name: seen.query_selector(place).screenshot() for name, place in parts.items()}
        opened.close()
    return found


if __name__ == "__main__":
    typer.run(main)
