"""The report of a training run: one HTML file that needs nothing but itself."""

from handgrad.report.curves import confusion, reliability, residuals, roc
from handgrad.report.page import render
from handgrad.report.run import Run

__all__ = ["Run", "confusion", "reliability", "render", "residuals", "roc"]
