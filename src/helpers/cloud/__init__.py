"""Renting a GPU: what it costs. Running on one is to come, with chapters 03 and 13."""

from helpers.cloud.prices import Price, price

__all__ = ["Price", "price"]
