"""Recipes that fit the data and a time budget, with the reasons for what was chosen."""

from efa_zoo.training.fitted.choices import Choices, choose_model, choose_training
from efa_zoo.training.fitted.facts import DataFacts
from efa_zoo.training.fitted.recipe import finetuning_steps, fitted_recipe
from efa_zoo.training.fitted.timing import StepTime, time_steps

__all__ = [
    "Choices",
    "DataFacts",
    "StepTime",
    "choose_model",
    "choose_training",
    "finetuning_steps",
    "fitted_recipe",
    "time_steps",
]
