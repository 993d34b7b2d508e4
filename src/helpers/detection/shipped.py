"""The weights that come with the workbook, by name.

They lie in the folder ``weights/`` of the repository, with their card and the command that makes them, and in the
installed package beside this module.
"""

from pathlib import Path

__all__ = ["SHIPPED", "shipped_weights"]

SHIPPED = ("synthetic",)
"""``"synthetic"``: a detector of 742,749 parameters, trained on synthetic EEG alone."""


def shipped_weights(name="synthetic"):
    """Where the weights of that name are.

    Parameters
    ----------
    name : str
        One of `SHIPPED`.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If they are not where they belong.
    """
    places = [Path(__file__).with_name("weights"), Path(__file__).parents[3] / "weights"]  # installed, checked out
    for place in places:
        if (place / f"{name}.pt").is_file():
            return place / f"{name}.pt"
    raise FileNotFoundError(f"{name}.pt: in neither {places[0]} nor {places[1]}. Install the workbook again.")
