"""What this machine is, and what of the workbook runs on it.

This package has to run where nothing else does, so it imports the standard library and the base dependencies only, on
Python 3.10 or later. It looks at other packages through their metadata, their files, or a subprocess with a time
limit; it never imports them, and it installs and repairs nothing outside the throwaway folder of a lab.
"""

from helpers.environment.answer import render_explanation
from helpers.environment.artifacts import ArtifactError, fetch_artifacts, sdist, unpacked, wheelhouse
from helpers.environment.command import main
from helpers.environment.compiling import compile_command, torch_folder
from helpers.environment.diagnosis import Cause, Explanation, explain
from helpers.environment.elf import ElfError, Extension, Search, predict, read_extension
from helpers.environment.examination import Examination, diagnose
from helpers.environment.labs import Lab, LabError, expect_error
from helpers.environment.memory import keep_freed_memory
from helpers.environment.packages import Package, Torch
from helpers.environment.probe import Gpu, Host, Machine, cache_folder
from helpers.environment.report import Report, Verdict, preflight
from helpers.environment.screen import render

__all__ = [
    "ArtifactError",
    "Cause",
    "ElfError",
    "Examination",
    "Explanation",
    "Extension",
    "Gpu",
    "Host",
    "Lab",
    "LabError",
    "Machine",
    "Package",
    "Report",
    "Search",
    "Torch",
    "Verdict",
    "cache_folder",
    "compile_command",
    "diagnose",
    "expect_error",
    "explain",
    "fetch_artifacts",
    "keep_freed_memory",
    "main",
    "predict",
    "preflight",
    "read_extension",
    "render",
    "render_explanation",
    "sdist",
    "torch_folder",
    "unpacked",
    "wheelhouse",
]
