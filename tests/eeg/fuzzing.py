"""Settings for tests that draw damaged files: a sample in the suite, as many as wanted by one command.

``WORKBOOK_FUZZ=100 python -m pytest tests/eeg -k "any_ or anywhere"`` draws 100 times as many.
"""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("WORKBOOK_FUZZ", "1"))


def fuzz(examples):
    """Settings for so many examples, each of which may write the same file again."""
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
