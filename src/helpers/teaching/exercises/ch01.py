"""Exercises of chapter 01: the name of a wheel, the contract of two packages, and the line of a log that tells."""

from helpers.environment.catalogue.releases import contract_kept
from helpers.environment.plan import Target, guess_wheel
from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def wheel_name(version, cuda, torch, abi, python):
    major = 11 if cuda.startswith("11") else 12
    minor = ".".join(torch.split("+")[0].split(".")[:2])
    tag = "cp" + python.replace(".", "")
    ends = f"cu{major}torch{minor}cxx11abi{str(abi).upper()}-{tag}-{tag}-linux_x86_64.whl"
    return f"mamba_ssm-{version}+{ends}"


def check_wheel_name(answer):
    cases = [
        ("2.2.4", "12.4", "2.5.1+cu124", False, "3.11"),
        ("2.2.4", "11.8", "2.2.2+cu118", False, "3.9"),
        ("2.2.4", "12.8", "2.10.0+cu128", True, "3.13"),
        ("2.2.4", "13.0", "2.9.1+cu130", True, "3.12"),
    ]
    for version, cuda, torch, abi, python in cases:
        found = attempt(answer, version, cuda, torch, abi, python)
        expected = guess_wheel("mamba-ssm", version, Target(torch.split("+")[0], cuda, abi, python))
        if found != expected:
            raise WrongAnswer(
                f"wheel_name({version!r}, {cuda!r}, {torch!r}, {abi}, {python!r}) gave {found!r}, expected "
                f"{expected!r}: of CUDA the major version, of torch two numbers, the ABI in capitals, Python's digits."
            )


def fits(mamba, causal_conv1d):
    return (mamba <= (2, 2, 4)) == (causal_conv1d < (1, 5, 1))


def check_fits(answer):
    for mamba in ((1, 2, 0), (2, 0, 4), (2, 2, 2), (2, 2, 4), (2, 2, 5), (2, 3, 0), (2, 10, 0)):
        for conv in ((1, 2, 0), (1, 4, 0), (1, 5, 0), (1, 5, 1), (1, 5, 2), (1, 6, 1), (1, 7, 0), (1, 10, 0)):
            found = attempt(answer, mamba, conv)
            expected = contract_kept(".".join(map(str, mamba)), ".".join(map(str, conv)))
            if found is not expected:
                raise WrongAnswer(
                    f"fits({mamba}, {conv}) gave {found}, expected {expected}: mamba-ssm passes "
                    f"{7 if mamba <= (2, 2, 4) else 8} arguments, causal-conv1d takes {7 if conv < (1, 5, 1) else 8}."
                )


def culprit(log):
    says_nothing = ("Error compiling objects", "subprocess-exited-with-error", "error originates from")
    says_nothing += ("Failed to build", "Failed building wheel", "HTTP Error 404")
    for line in reversed(log.splitlines()):
        if "error" in line.lower() and not any(text in line for text in says_nothing):
            return line
    return ""


NINJA = "ninja: error: 'csrc/selective_scan/selective_scan.cpp', missing and no known rule to make it"
LOGS = [
    (
        f"urllib.error.HTTPError: HTTP Error 404: Not Found\n\nDuring handling of the above exception:\n{NINJA}\n"
        "RuntimeError: Error compiling objects for extension\nerror: subprocess-exited-with-error\n"
        "ERROR: Failed building wheel for mamba-ssm\nhint: see above",
        NINJA,
    ),
    (
        "error: first of many\nfatal error: cuda_runtime.h: No such file\nERROR: Failed building wheel for mamba-ssm",
        "fatal error: cuda_runtime.h: No such file",
    ),
    (
        "Guessing wheel URL: x\nNameError: name 'bare_metal_version' is not defined\n"
        "  error: subprocess-exited-with-error\n  × Getting requirements did not run\n",
        "NameError: name 'bare_metal_version' is not defined",
    ),
    (f"{NINJA}\nRuntimeError: Error compiling objects for extension", NINJA),
    (
        "ModuleNotFoundError: No module named 'torch'\n[end of output]\nnote: This error originates from a subprocess\n"
        "ERROR: Failed to build 'mamba_ssm.tar.gz' when getting requirements to build wheel",
        "ModuleNotFoundError: No module named 'torch'",
    ),
]


def check_culprit(answer):
    for log, expected in LOGS:
        found = attempt(answer, log)
        if found != expected:
            raise WrongAnswer(
                f"for this log culprit gave {found!r}, expected {expected!r}: the last line with 'error', in "
                f"capitals or not, that says more than that something failed.\n{log}"
            )


EXERCISES = [
    Exercise(
        "01.1",
        "three parts of the name stay as they are, four come from the arguments; start from the example.",
        check_wheel_name,
        wheel_name,
        {
            "keeps all numbers of torch": lambda version, cuda, torch, abi, python: wheel_name(
                version, cuda, torch, abi, python
            ).replace(".".join(torch.split(".")[:2]), torch.split("+")[0]),
            "writes True as Python does": lambda *given: wheel_name(*given).replace("TRUE", "True"),
            "takes CUDA's own number": lambda version, cuda, torch, abi, python: wheel_name(
                version, cuda, torch, abi, python
            ).replace("cu12", "cu" + cuda.split(".")[0]),
        },
    ),
    Exercise(
        "01.2",
        "how many arguments does the one pass, and how many does the other take? Tuples compare like versions.",
        check_fits,
        fits,
        {
            "takes the newest for the best": lambda mamba, conv: conv >= (1, 5, 1),
            "believes the metadata": lambda mamba, conv: conv >= (1, 2, 0),
            "counts 1.5.0 to the new ones": lambda mamba, conv: (mamba <= (2, 2, 4)) == (conv < (1, 5, 0)),
            "compares text": lambda mamba, conv: (str(mamba) <= "(2, 2, 4)") == (str(conv) < "(1, 5, 1)"),
        },
    ),
    Exercise(
        "01.3",
        "reversed(log.splitlines()), a condition with `in`, and return at the first line that passes.",
        check_culprit,
        culprit,
        {
            "takes the last error, whatever it says": lambda log: [
                line for line in log.splitlines() if "error" in line.lower()
            ][-1],
            "takes the first": lambda log: next(line for line in log.splitlines() if "error" in line.lower()),
            "forgets capitals": lambda log: next(
                (
                    line
                    for line in reversed(log.splitlines())
                    if "error" in line and not ("Error compiling" in line or "exited-with" in line)
                ),
                "",
            ),
        },
    ),
]
