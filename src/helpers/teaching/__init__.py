"""What the chapters need around the subject: figures now, exercises and explorers in later chapters."""

from helpers.teaching.plots import COLORS, detection_figure, style

__all__ = ["COLORS", "detection_figure", "style"]
