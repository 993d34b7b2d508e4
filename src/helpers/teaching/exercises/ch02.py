"""Exercises of chapter 02: a mangled name read, the loader's order, and which GPUs a module runs on."""

import itertools
import random
import re

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def read_mangled(name):
    rest, parts = re.sub("^_ZNK?", "", name), []
    while found := re.match(r"\d+", rest):
        start, length = found.end(), int(found[0])
        parts.append(rest[start : start + length])
        rest = rest[start + length :]
    return parts


def check_read_mangled(answer):
    cases = {
        "_ZN3c104cuda14ExchangeDeviceEa": ["c10", "cuda", "ExchangeDevice"],
        "_ZN2at4_ops10zeros_like4callERKNS_6TensorE": ["at", "_ops", "zeros_like", "call"],
        "_ZNK3c1017SymbolicShapeMeta18init_is_contiguousEv": ["c10", "SymbolicShapeMeta", "init_is_contiguous"],
        "_ZN3c105ErrorC2ENS_14SourceLocationESs": ["c10", "Error"],
        "_ZN5torch8autograd4NodeD1Ev": ["torch", "autograd", "Node"],
    }
    for name, expected in cases.items():
        found = attempt(answer, name)
        if list(found) != expected:
            raise WrongAnswer(
                f"read_mangled({name!r}) gave {found}, expected {expected}: a length, then so many characters, again "
                "and again, until there is no digit; a name may itself begin or end in digits."
            )


def first_found(name, rpath, ld_library_path, runpath, system, loaded):
    if name in loaded:
        return loaded[name]
    for folder in [*([] if runpath else rpath), *ld_library_path, *runpath, *system]:
        if name in folder:
            return folder[name]
    return "cannot open"


def check_first_found(answer):
    draw = random.Random(2)
    name = "libc10.so"
    places = ["rpath", "ld_library_path", "runpath", "system", "loaded"]
    for having in itertools.chain.from_iterable(itertools.combinations(places, count) for count in range(6)):
        folders = {place: [{"libm.so.6": "/lib/libm.so.6"}] if draw.random() < 0.5 else [] for place in places[:4]}
        loaded = {"libz.so": "/lib/libz.so"}
        for place in having:
            if place == "loaded":
                loaded[name] = "/loaded/libc10.so"
            else:
                folders[place].append({name: f"/{place}/libc10.so"})
        if "runpath" not in having and "rpath" in having:
            folders["runpath"] = []
        arguments = [name, *folders.values(), loaded]
        found, expected = attempt(answer, *arguments), first_found(*arguments)
        if found != expected:
            raise WrongAnswer(
                f"with a {name} in {', '.join(having) or 'no place'} first_found gave {found}, expected {expected}: "
                "loaded, RPATH if there is no RUNPATH, LD_LIBRARY_PATH, RUNPATH, system."
            )
    second = attempt(answer, name, [], [{}, {name: "/second"}], [], [], {})
    if second != "/second":
        raise WrongAnswer(f"with {name} in the second folder first_found gave {second}, expected '/second': try all.")


def runs_on(archs, capability):
    for arch in archs:
        kind, digits = arch.split("_")
        built = int(digits[:-1]), int(digits[-1])
        if kind == "compute" and built <= capability:
            return True
        if kind == "sm" and built[0] == capability[0] and built[1] <= capability[1]:
            return True
    return False


def check_runs_on(answer):
    cases = [
        (["sm_80", "sm_86"], (8, 9), True),
        (["sm_90"], (8, 9), False),
        (["sm_89"], (8, 6), False),
        (["sm_70", "sm_75"], (12, 0), False),
        (["sm_70", "compute_75"], (12, 0), True),
        (["compute_90"], (8, 9), False),
        (["sm_120"], (12, 1), True),
        (["sm_100"], (12, 0), False),
        ([], (9, 0), False),
    ]
    for archs, capability, expected in cases:
        found = attempt(answer, archs, capability)
        if found is not expected:
            raise WrongAnswer(
                f"runs_on({archs}, {capability}) gave {found}, expected {expected}: sm_ needs the same major and no "
                "higher minor version, compute_ no higher version. The last digit is the minor one."
            )


def _fixed_lengths(name):
    return re.findall(r"\d([A-Za-z_]+)", name.split("E")[0])


def _keeps_types(name):
    return re.findall(r"[A-Za-z_]\w*?(?=\d|E)", name.removeprefix("_ZN"))


def _runpath_first(name, rpath, ld_library_path, runpath, system, loaded):
    return first_found(name, [], [], [*runpath, *rpath, *ld_library_path], system, loaded)


def _ignores_loaded(name, rpath, ld_library_path, runpath, system, loaded):
    return first_found(name, rpath, ld_library_path, runpath, system, {})


def _rpath_always(name, rpath, ld_library_path, runpath, system, loaded):
    return first_found(name, [], [*rpath, *ld_library_path], runpath, system, loaded)


def _exact_only(archs, capability):
    return f"sm_{capability[0]}{capability[1]}" in archs


def _all_upward(archs, capability):
    return any(int(arch.split("_")[1]) <= capability[0] * 10 + capability[1] for arch in archs)


EXERCISES = [
    Exercise(
        "02.1",
        "re.match(r'\\d+', rest) gives a length; cut so many characters behind it, and go on with what is left.",
        check_read_mangled,
        read_mangled,
        {"looks for letters instead of lengths": _fixed_lengths, "takes the types too": _keeps_types},
    ),
    Exercise(
        "02.2",
        "put the folders into one list in the right order; what is loaded comes before all of them.",
        check_first_found,
        first_found,
        {
            "puts RUNPATH before LD_LIBRARY_PATH": _runpath_first,
            "forgets what is loaded": _ignores_loaded,
            "uses RPATH beside RUNPATH": _rpath_always,
        },
    ),
    Exercise(
        "02.3",
        "split 'sm_86' into its kind and the numbers (8, 6), then compare pairs of numbers.",
        check_runs_on,
        runs_on,
        {"wants the very same architecture": _exact_only, "takes machine code of any older GPU": _all_upward},
    ),
]
