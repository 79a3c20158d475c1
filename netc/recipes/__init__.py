"""Recipes: a network, a data set and training options under one name, run for several seeds and told of together."""

from netc.recipes.recipe import Recipe, load, names
from netc.recipes.results import results
from netc.recipes.run import Outcome, run

__all__ = ["Outcome", "Recipe", "load", "names", "results", "run"]
