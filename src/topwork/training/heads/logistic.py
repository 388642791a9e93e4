"""Multinomial logistic regression."""

from __future__ import annotations

from topwork.core.parameters import LinearParameters
from topwork.training.heads import Examples, FittedHead
from topwork.training.linear import fitted_linear, multinomial_logistic


def fit(examples: Examples, parameters: LinearParameters) -> FittedHead:
    """The fitted head; nested cross-validation chooses the regularisation C."""
    p = parameters
    return fitted_linear(multinomial_logistic(p.class_weight, p.max_iterations), examples, p)
