"""What this machine is, and what of the workbook runs on it.

This package has to run where nothing else does, so it imports the standard library and the base dependencies only, on
Python 3.10 or later. It looks at other packages through their metadata, their files, or a subprocess with a time
limit; it never imports them, and it installs and repairs nothing outside the throwaway folder of a lab. Importing the
package loads nothing: a name brings its module when it is first used.
"""

from importlib import import_module

_MODULES = {
    "answer": ("render_explanation",),
    "artifacts": ("ArtifactError", "fetch_artifacts", "sdist", "unpacked", "wheelhouse"),
    "command": ("main",),
    "compiling": ("compile_command", "torch_folder"),
    "diagnosis": ("Cause", "Explanation", "explain"),
    "elf": ("ElfError", "Extension", "Search", "predict", "read_extension"),
    "examination": ("Examination", "diagnose"),
    "labs": ("Lab", "LabError", "expect_error"),
    "memory": ("keep_freed_memory",),
    "packages": ("Package", "Torch"),
    "processes": ("ProcessDied", "in_processes"),
    "probe": ("Gpu", "Host", "Machine", "cache_folder"),
    "report": ("Report", "Verdict", "preflight"),
    "screen": ("render",),
    "writing": ("replacing",),
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
