"""scikit-learn estimators: ensembles of R replicas, whose predictions have error bars."""

from handgrad.estimators.classifier import HandgradClassifier
from handgrad.estimators.regressor import HandgradRegressor

__all__ = ["HandgradClassifier", "HandgradRegressor"]
