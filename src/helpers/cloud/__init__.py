"""Renting a GPU from Modal: prices, cost, the rule of timeouts, and a model of the service on this machine.

The app itself is ``env/modal/app.py``. ``python -m helpers.cloud -- modal run env/modal/app.py --action train`` runs it
against `LocalModal`. Importing the package loads nothing: a name brings its module when it is first used, and only
`LocalModal` needs modal to be installed.
"""

from importlib import import_module

_MODULES = {
    "cost": ("Estimate", "Throughput", "cost_table", "estimate", "throughput"),
    "limits": ("LONGEST_TIMEOUT", "SHORTEST_TIMEOUT", "TimeoutRuleError", "checked_timeout"),
    "local": ("LocalModal",),
    "prices": ("Price", "price"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
