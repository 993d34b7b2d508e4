"""How long one attempt of a Function may last at Modal: checked here, before anything is sent.

Modal's client passes any number on, and the service refuses what it does not take only after the image was built.
Source: modal.com/docs/guide/timeouts, "between 1 second and 24 hours".
"""

import math

__all__ = ["LONGEST_TIMEOUT", "SHORTEST_TIMEOUT", "TimeoutRuleError", "checked_timeout"]

SHORTEST_TIMEOUT, LONGEST_TIMEOUT = 1, 86_400  # s


class TimeoutRuleError(ValueError):
    """A timeout that Modal does not take."""


def checked_timeout(seconds):
    """The timeout of one attempt, if Modal takes it.

    Parameters
    ----------
    seconds : int
        s, 1 to 86,400.

    Returns
    -------
    int

    Raises
    ------
    TimeoutRuleError
        If it is not; the message says what to do for a longer run.
    """
    if isinstance(seconds, int) and SHORTEST_TIMEOUT <= seconds <= LONGEST_TIMEOUT:
        return seconds
    found = f"timeout is {seconds} s, expected 1 to {LONGEST_TIMEOUT:,} s (24 h) for one attempt."
    if not isinstance(seconds, int) or seconds < SHORTEST_TIMEOUT:
        raise TimeoutRuleError(f"{found} Give whole seconds.")
    attempts = math.ceil(seconds / LONGEST_TIMEOUT)
    raise TimeoutRuleError(
        f"{found} Give {LONGEST_TIMEOUT}: a run of {seconds / 3600:g} h takes {attempts} attempts, and each goes "
        "on from the last checkpoint."
    )
