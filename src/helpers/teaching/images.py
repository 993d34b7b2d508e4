"""Small PNGs: a figure of lines and few colors, stored with a palette."""

import io

__all__ = ["palette_png"]


def palette_png(png, colors=64):
    """The same picture with a palette: a quarter of the size, and no difference to see in a figure of lines.

    Parameters
    ----------
    png : bytes
    colors : int
        At most 256.

    Returns
    -------
    bytes
    """
    from PIL import Image

    packed = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(colors).save(packed, "png", optimize=True)
    return packed.getvalue()
