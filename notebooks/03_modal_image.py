# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The Modal image
#
# Modal rents out machines with GPUs by the second. You do not log in to one. You write a Python file that says what the
# machine has to have, and your functions run there. What it has is called an *image*, and most of what goes wrong goes
# wrong while the image is built, or comes out later because nothing was tried while it was built.
#
# In this chapter you work against **a model of Modal on your own machine**. Modal's real client runs, and talks to a
# small server of this book instead of Modal's. It records what is declared, refuses what Modal refuses, and really runs
# your functions, in processes that see the files that you sent, and your own Python with its packages. No account, no
# network, no cost. It builds no image and rents no GPU, so nothing here proves that an image builds. (Nor is it a
# sandbox: run no program in it that you would not run without.)
#
# **You will**
#
# - write a program that names its machine, and run it;
# - read the recipe of an image as the client sends it, layer by layer, and say what a change has built again;
# - make the four problems of *field note A* (working notes of engineers, [checked claim by
#   claim](../book/field_notes.md)), and mend them;
# - tell what the client checks from what only the service can refuse;
# - find the files that are missing in a container, and the secret that should not be in an image;
# - get to a smoke run: the layers of this book, tried in a container.
#
# **You need** Python, and Linux with gcc (Colab and WSL2 have it). Nothing of Modal. From [chapter
# 01](01_install.ipynb): pip's isolated build, a room without your torch. From [chapter 02](02_loader.ipynb): an
# undefined symbol. Some cells need a GPU; elsewhere you see what they printed on ours.

# %% tags=["remove-cell"]
import importlib.util

# On Colab this installs the workbook. Where it is installed already, nothing happens.
if importlib.util.find_spec("helpers") is None:
    from IPython import get_ipython

    repository = (
        "git+https://github.com/clarity-digital-twin/bimamba-eeg-workbook"
    )
    get_ipython().run_line_magic(
        "pip",
        f'install --quiet "bimamba-eeg-workbook[workbook] @ {repository}@v0.1.0"',
    )

# %% tags=["setup"]
import shutil
import sys

from helpers.environment import Lab, LabError, expect_error, sdist
from helpers.teaching import needs, require
from helpers.teaching.modal_lab import (
    checkout,
    label,
    layers_figure,
    modal_run,
)

require("Linux", "gcc", remedy="Use Colab or WSL2, or read on here.")
lab = Lab()
app_file = checkout(lab) / "env/modal/app.py"

# %% [markdown]
# A `Lab` is a throwaway folder, shown as `<lab>`; `expect_error` runs a block that has to fail with a certain text.
# `modal_run(lab, "run", …)` is the command `modal run …` in that folder, against a fresh model. `app_file` is this book's
# own program for Modal.
#
# ## A program that names its machine
# <a id="lab-first"></a>
#
# | word | means |
# |---|---|
# | image | the files of a machine: system, Python, packages |
# | container | a machine that was started from an image; it ends some time after its work |
# | Function | a Python function that runs in a container |
# | App | the Functions of a file, and what they need |
# | Volume | a folder that outlives containers |
# | Secret | names and values that are kept at Modal, such as the keys of a storage |
#
# Here is a whole program. `double` runs in a container, `main` runs on your machine and asks for it.

# %% tags=["setup"]
FIRST = """
    import modal

    app = modal.App("first-steps")

    @app.function(image=modal.Image.debian_slim(python_version="3.11"))
    def double(x):
        print("in the container, where this file is", __file__)
        return 2 * x

    @app.local_entrypoint()
    def main(x: int = 21):
        print("back here:", double.remote(x))
"""
program = lab.write("first.py", FIRST)

# %% [markdown]
# **Guess:** where will `double` find its own file? In a terminal the command is `modal run first.py --x 4`; the option
# `--x` comes from the parameter of `main`.

# %%
first = modal_run(lab, "run", "first.py", "--x", "4")

# %% [markdown]
# The home folder `~` is the container's, `/root`. Your file was copied there, and no other file of yours. (If it
# says *recorded, not run*: your machine forbids the model to make containers, as some clouds do. All that is recorded
# can be read all the same.)
#
# The image was one line, `debian_slim`. This is what the client made of it:

# %%
for command in first.dockerfile("double"):
    print(command)

# %% [markdown]
# It is the language of Docker: start `FROM` a published image, `RUN` commands in it, set variables with `ENV`. Each call
# on a `modal.Image` adds a *layer*: some commands, whose result Modal keeps. That is all an image is, and you can read
# all of it before you pay for anything.
#
# ## Two recipes
# <a id="lab-recipes"></a>
#
# The workbook's program has several recipes for the same purpose. We record two of them, without running anything, and
# look at the layers (one line each, shortened):

# %%
recipes = {}
for name in ("A", "B"):
    options = ("--action", "test-mamba", "--recipe", name)
    recipes[name] = modal_run(lab, "run", app_file, *options, run=False)


# %%
def show(name):
    for number, layer in enumerate(recipes[name].layers("test_mamba")):
        print(number, label(layer))


show("A")

# %% [markdown]
# A slim Linux with Python; the list of versions that this book was tested with; torch; what the package needs; then
# `causal_conv1d` and `mamba_ssm` **as ready wheels, named in full**. After that comes one layer on an H100, to which we
# return, and variables. There is no compiler's work in it. Recipe B compiles the same two packages:

# %%
show("B")

# %% [markdown]
# **Which of the two needs the CUDA image with `nvcc`?** Field note A says that every image does: "MUST compile from
# source", "CANNOT use pre-built wheels". B does, for its layer of `git+` commands. A does not, since nothing is compiled
# there. What A has to have instead is a wheel for exactly this torch and this Python, and its name says which:
#
# | piece of the name | has to agree with |
# |---|---|
# | `torch2.10` | `torch==2.10.0` of the layer above, the minor version too |
# | `cu12` | the CUDA that this torch was built with, the major version |
# | `cxx11abiTRUE` | this torch's kind of `std::string` |
# | `cp311` | the Python of the image |
#
# pip compares the last row alone. `workbook plan` finds the name for a torch of yours ([chapter
# 01](01_install.ipynb#lab-wheel-guess)). There are two more recipes: C, the default, is A without the two packages (and its layer
# on a GPU tries torch alone), since this book's layers need plain torch only; `notes` has the versions of the field notes, with
# the wheels for *their* torch. All calls of the note's own recipe still exist: `from_registry` with `add_python`,
# `entrypoint([])`, `apt_install`, `pip_install`, `run_commands`.
#
# ## The order of layers
# <a id="lab-order"></a>
#
# Modal keeps each layer under the hash of its commands *and of all layers before it*. So a change builds that layer again
# and every one that follows. Try changes to recipe A (on a page without a kernel, the menu still works). **Guess first:**
# which layers are built again when a variable changes? And which when your own code does?

# %% tags=["hide-input"]
from helpers.teaching import explore

LAYERS = recipes["A"].layers("test_mamba")
OWN = "this package, all its files; its weights"


def place(part):
    found = [any(part in c for c in layer["commands"]) for layer in LAYERS]
    return found.index(True)


CHANGES = {
    "another version of torch": place("torch=="),
    "another version of mne": place("mne=="),
    "another wheel of mamba_ssm": place("/mamba_ssm-"),
    "a variable": place("ENV "),
    "a line of your code": len(LAYERS),
}


def draw(change):
    return layers_figure(LAYERS, OWN, CHANGES[change])


def describe(change):
    again = len(LAYERS) - CHANGES[change]
    return (
        f"The {len(LAYERS)} layers of recipe A from the base to the variables, one bar each, and below them the "
        f"mounted files. With a change of {change}, the last {again} layers are marked as built again, the others as "
        "kept; the mounted files are sent again each time."
    )


explore(draw, alt=describe, change=("what changes", list(CHANGES)))

# %% [markdown]
# Hence the order: **what changes seldom comes first, what changes often comes last.** Your own code changes most. It is
# no layer at all: `add_local_python_source` has it mounted when a container starts, so a new run needs no build.
#
# Field note A says "Modal Image Building Order Matters", and means another reason: what a command needs must stand above
# it. Both hold. We come to that in problem 2.
#
# Mounted files come after all layers, so a build step cannot follow them. The client accepts the line, and complains as
# soon as it speaks to the service:

# %% tags=["lab:local-last"]
LAST = """
    import modal

    image = (modal.Image.debian_slim()
        .add_local_file("settings.txt", "/root/settings.txt")
        .pip_install("numpy==2.4.6"))
    app = modal.App("local-last", image=image)

    @app.function()
    def train(): ...
"""
settings = lab.write("settings.txt", "epochs 3")
program = lab.write("last.py", LAST)

# %% tags=["lab:local-last"]
with expect_error(LabError, match="An image tried to run a build step after"):
    modal_run(lab, "run", "last.py", run=False)

# %% [markdown]
# ## Problem 1: a wheel that does not fit
# <a id="lab-wheel"></a>
#
# The note's first problem was `undefined symbol: _ZN3c104cuda14ExchangeDeviceEa`: a package for another torch. We stage
# it: a small library asks for that function, and nobody has it. It goes to a Function on an H100, and is imported there.

# %% tags=["setup"]
WANTS = "signed char _ZN3c104cuda14ExchangeDeviceEa(signed char);"
SCAN = f"""
{WANTS}
signed char scan(void) {{ return _ZN3c104cuda14ExchangeDeviceEa(0); }}
"""
lab.write("mamba_scan.c", SCAN)
lab.build("mamba_scan.c")
WHEEL = """
    import modal

    slim = modal.Image.debian_slim()
    image = slim.add_local_file("mamba_scan.so", "/root/mamba_scan.so")
    app = modal.App("wheel", image=image)

    @app.function(gpu="H100")
    def train():
        import mamba_scan
"""
program = lab.write("wheel.py", WHEEL)


# %% tags=["lab:wheel"]
@needs("mount namespaces")
def imported_in_the_container():
    with expect_error(
        LabError, match="undefined symbol: _ZN3c104cuda14ExchangeDeviceEa"
    ):
        modal_run(lab, "run", "wheel.py")


# %% [markdown]
# A real loader said this, in a container of the model. **When did it come?** After the image was built, after a GPU was
# rented and a container was started. pip installs a wheel that does not fit without a word, so the build was green.
#
# The cure is the layer of recipe A that asks for a GPU. It runs while the image is built, once, and a build that fails
# leaves no image. This is its command:

# %%
(layer,) = [each for each in LAYERS if each["gpu"]]
smoke = layer["commands"][-1].removeprefix("RUN ")
print(f"on {layer['gpu']}:", *smoke.split("; "), sep="\n  ")

# %% [markdown]
# We call it the *smoke layer*. It makes a layer of `mamba_ssm` and runs it forward *and backward*: an import alone would not
# have launched a kernel. Does it really stop a build? The command on our broken package, as a build
# would run it:

# %% tags=["lab:wheel"]
with expect_error(
    ImportError, match="undefined symbol: _ZN3c104cuda14ExchangeDeviceEa"
):
    lab.python("import mamba_scan")

# %% [markdown]
# Note A's remedy was `--no-build-isolation`. It worked there, for another reason than the note gives: it lets `setup.py`
# see the torch of the image ([two rooms, two files](01_install.ipynb#lab-wheel-guess)). And without the smoke layer, the
# next wrong wheel would again be found on a running GPU.
#
# ## Problem 2: what must stand above
# <a id="lab-build-tools"></a>
#
# "`No module named 'packaging'`", and the cure "install `packaging` before mamba-ssm". Here is the note's recipe, and the
# same with its two last layers exchanged:

# %% tags=["setup"]
NOTE = """
    import modal

    torch = (
        modal.Image.from_registry(
            "nvidia/cuda:12.1.0-devel-ubuntu22.04", add_python="3.11")
        .entrypoint([])
        .apt_install("build-essential", "ninja-build")
        .pip_install("torch==2.2.2", "numpy<2.0"))
    build = "pip install --no-build-isolation mamba-ssm==2.2.4"
    noted = torch.pip_install("packaging", "ninja").run_commands(build)
    swapped = torch.run_commands(build).pip_install("packaging", "ninja")
    app = modal.App("note-a")

    @app.function(image=noted)
    def as_noted(): ...

    @app.function(image=swapped)
    def exchanged(): ...
"""
program = lab.write("note.py", NOTE)

# %% tags=["lab:build-tools"]
note = modal_run(lab, "run", "note.py::as_noted", run=False)
for name in ("as_noted", "exchanged"):
    print(name, *note.dockerfile(name)[-2:], sep="\n  ")

# %% [markdown]
# The client takes either order without a word. Now we do what a builder does, and run the recorded commands one after the
# other, in an environment that holds what an image of 2024 held. (The archive of `mamba-ssm` is the real one, kept by
# `workbook data fetch`; pip is cut off from the network; torch is left out, for it is large.)

# %% tags=["setup"]
container = lab.environment("setuptools==69.5.1", "wheel")


def replay(commands):
    """Run recorded pip commands, one after the other."""
    for command in commands:
        words = command.partition("pip install ")[2].split()
        if words[-1].startswith("mamba-ssm"):
            words = [*words[:-1], "--no-deps", sdist("mamba-ssm", "2.2.4")]
        lab.pip("install", *words, python=container)


# %% tags=["lab:build-tools"]
with expect_error(LabError, match="No module named 'packaging'"):
    replay(note.dockerfile("exchanged")[-2:])

# %% [markdown]
# The note's second error: the package was built before its tools were there. In the note's own order `setup.py` gets
# further, to the torch that we left out ([chapter 01](01_install.ipynb#lab-build-tools) goes there).
#
# So the note's order is right, and why: torch, then build tools, then the package that is built *in* that environment.
# In recipe A nothing is built, so only one rule of it is left: torch first, and `--no-deps` behind the wheels, so that pip
# brings no other torch.
#
# ## Problem 3: a compiler that nobody chose
# <a id="lab-compiler"></a>
#
# `Command '['which', 'clang++']' returned non-zero exit status 1`. The note concludes that the CUDA image "lacks build
# tools". But who asked for *clang++*? A Python remembers the compiler that it was built with, and tells every build to
# use it. The one that `add_python` brings was built with clang
# ([uv#8036](https://github.com/astral-sh/uv/issues/8036)). We give our Python such a memory, and a folder of tools in
# which there is gcc, as `build-essential` would bring it:

# %% tags=["setup"]
MEMORY = """
    import importlib, os, sysconfig
    del os.environ["_PYTHON_SYSCONFIGDATA_NAME"]
    own = importlib.import_module(sysconfig._get_sysconfigdata_name())
    clang = {"CC": "clang", "CXX": "clang++", "LDSHARED": "clang -shared"}
    build_time_vars = own.build_time_vars | clang
"""
lab.write("build/memory.py", MEMORY)
(lab / "bin").mkdir()
for tool in ("gcc", "g++", "as", "ld"):
    (lab / "bin" / tool).symlink_to(shutil.which(tool))

# %% tags=["setup", "hide-input"]
lab.write(
    "build/setup.py",
    """
    from setuptools import Extension, setup

    setup(name="scan", ext_modules=[Extension("scan", ["scan.cpp"])])
    """,
)
lab.write(
    "build/scan.cpp",
    """
    #include <Python.h>
    static PyModuleDef about = {PyModuleDef_HEAD_INIT, "scan", 0, -1, 0};
    PyMODINIT_FUNC PyInit_scan() { return PyModule_Create(&about); }
    """,
)
machine = {
    "PATH": lab / "bin",
    "PYTHONPATH": lab / "build",
    "_PYTHON_SYSCONFIGDATA_NAME": "memory",
    "CC": None,
    "CXX": None,
}


def build(**variables):
    command = (container, "setup.py", "build_ext", "--force")
    return lab.run(*command, folder="build", env=machine | variables)


# %% tags=["lab:compiler"]
with expect_error(LabError, match="command 'clang' failed: No such file"):
    build()

# %% [markdown]
# gcc is there, and is not asked. (Torch's build looks for the C++ one first, `clang++`; that of torch 2.2 did it with
# `which`, hence the note's wording.) Installing
# `build-essential` does not help by itself. What helps are two variables of recipe B, taken from its recorded layers:

# %% tags=["lab:compiler"]
lines = recipes["B"].dockerfile("test_mamba")
named = [line[4:] for line in lines if line.startswith(("ENV CC=", "ENV CXX="))]
print(*named)
log = build(**dict(line.split("=") for line in named))
[line.split()[0] for line in log.splitlines() if "scan." in line][:2]

# %% [markdown]
# ## Problem 4: the limit of a day
# <a id="lab-timeout"></a>
#
# `Timeout must be between 10s and 86400s`. The note had asked for 30 hours. **Guess:** who refuses that, and when? This
# time we show all that the client says, and then what it had asked for:

# %% tags=["setup"]
LONG = """
    import modal

    app = modal.App("long")

    @app.function(timeout=30 * 60 * 60)
    def train(): ...
"""
program = lab.write("long.py", LONG)

# %% tags=["lab:timeout"]
from helpers.cloud import LocalModal

command = (sys.executable, "-m", "modal", "run", "-q", "long.py")
with LocalModal() as service, expect_error(LabError, match="not 108000 s"):
    lab.run(*command, env=service.client_environment() | {"NO_COLOR": "1"})
asked = [name for name, _ in service.calls]
print("the image was asked for:", "ImageGetOrCreate" in asked)

# %% [markdown]
# The last line is the refusal. `[model]` means that the service's own words are not known here: the rule is that of
# [Modal's guide](https://modal.com/docs/guide/timeouts), 1 second to 24 hours for an attempt. The client passes any number
# on, so the image comes first: Modal would have built it, for recipe B with two packages to compile, and then refused the
# Function. Our program checks it before it sends anything, with `helpers.cloud.checked_timeout`, and says what to do:

# %% tags=["lab:timeout"]
early = ("--action", "train", "--timeout", "108000")
with expect_error(LabError, match="a run of 30 h takes 2 attempts"):
    modal_run(lab, "run", app_file, *early)

# %% [markdown]
# A longer run is several attempts, each of which goes on from the last checkpoint. [Chapter
# 13](13_modal_training.ipynb#lab-past-24-hours) is about that.
#
# ## Who checks what
# <a id="lab-checks"></a>
#
# The client is a Python library: it can check what it sees in your file. Whether a GPU of that name exists it cannot know.
# **Guess** for each line: an error now, or not?

# %%
import modal


def declare(**options):
    modal.App().function(serialized=True, **options)(lambda: None)


def attempt(what, action):
    try:
        action()
        print(f"{what:32s} accepted")
    except Exception as error:
        words = str(error).splitlines()[0]
        print(f"{what:32s} {type(error).__name__}: {words[:58]}")


attempt("timeout=None", lambda: declare(timeout=None))
attempt("timeout=108000", lambda: declare(timeout=108000))
attempt('timeout="30h"', lambda: declare(timeout="30h"))
attempt("gpu=3", lambda: declare(gpu=3))
attempt('gpu="A100-80GB:x"', lambda: declare(gpu="A100-80GB:x"))
attempt('gpu="RTX4090"', lambda: declare(gpu="RTX4090"))
attempt("retries=-1", lambda: declare(retries=-1))
attempt("retries=11", lambda: declare(retries=11))

# %% [markdown]
# *Some* wrong types and values are found at once. `timeout="30h"` is not: the client stumbles over it when it sends the
# Function, after the image. A day of 30 hours, a GPU that Modal does not rent, an eleventh retry: accepted, sent, and refused by
# the service. Nor does anybody run the commands of an image before it is built. So a fault is found in one of these
# places, and the later, the dearer:
#
# | fault | found by | when |
# |---|---|---|
# | a parameter that does not exist, some wrong types | the client | at import |
# | a local file that is missing, a build step after `add_local_…` | the client | when it speaks to the service |
# | a timeout that is no number | the client | after the image was built |
# | a timeout out of range, a GPU, a number of retries, a Secret | the service | after the image was built |
# | a command that fails | the build | minutes later |
# | a wheel that does not fit | the smoke layer, or your training | at the end of the build, or on a rented GPU |
#
# ## Calls and commands that are gone
# <a id="lab-old-calls"></a>
#
# Programs for Modal that are a few years old stop at their first line. The client of today says what is missing, and
# sometimes what came instead:

# %%
slim = modal.Image.debian_slim()
attempt("modal.Stub", lambda: modal.Stub)
attempt('modal.gpu.A100(size="80GB")', lambda: modal.gpu.A100)
attempt('image.copy_local_dir(".")', lambda: slim.copy_local_dir("."))
attempt("@app.function(mounts=[])", lambda: declare(mounts=[]))
attempt("@app.function(keep_warm=1)", lambda: declare(keep_warm=1))
attempt('pip_install("--no-deps", …)', lambda: slim.pip_install("--no-deps"))

# %% [markdown]
# | then | today |
# |---|---|
# | `modal.Stub` | `modal.App` |
# | `modal.gpu.A100(size="80GB")` | `gpu="A100-80GB"`, with `:2` behind it for two |
# | `copy_local_dir`, `mounts=[…]` | `image.add_local_dir(…)`, `image.add_local_python_source(…)` |
# | `secret=`, `shared_volumes=` | `secrets=[…]`, `volumes={"/path": volume}` |
# | `keep_warm`, `concurrency_limit`, `container_idle_timeout` | `min_containers`, `max_containers`, `scaledown_window` |
# | flags among the packages | `extra_options="--no-deps"` |
#
# <a id="lab-commands"></a>
# Field note A ends with commands for testing. **Guess** which of the four run today.

# %% nbmake={"mock": {"NOTED": ["run train.py --config full.yaml --detach"]}}
TRAIN = """
    import modal

    app = modal.App("commands")

    @app.local_entrypoint()
    def main(config: str = "", resume: bool = True):
        print("config", config, "resume", resume)
"""
program = lab.write("train.py", TRAIN)
NOTED = [
    "run train.py --config smoke.yaml",
    "run train.py --config full.yaml --detach",
    "run train.py --resume true",
    "status",
]

# %%
for noted in NOTED:
    print("$ modal", noted)
    try:
        modal_run(lab, *noted.split())
    except LabError as error:
        print(str(error).splitlines()[-1])

# %% [markdown]
# One of four. `--detach` is an option of `modal run` itself and stands *before* the file; what stands behind belongs to
# the program. A parameter that is true or false becomes `--resume` or `--no-resume`, without a word behind it. And `modal
# status` does not exist; spending is under `modal billing`.

# %%
right = modal_run(lab, "run", "--detach", "train.py", "--no-resume")
# %% [markdown]
# ## What is in the container
# <a id="lab-package-data"></a>
#
# Only what you send. `add_local_python_source("scales")` sends a package, so it seems. This one reads a table:

# %% tags=["setup"]
READ = """
    from pathlib import Path

    def table():
        return Path(__file__).with_name("table.toml").read_text()
"""
lab.write("scales/__init__.py", READ)
lab.write("scales/table.toml", "highest = 3")
DATA = """
    import modal

    slim = modal.Image.debian_slim()
    image = slim.add_local_python_source("scales")
    app = modal.App("data", image=image)

    @app.function()
    def table():
        import scales
        print(scales.table())
"""
program = lab.write("data.py", DATA)


# %% tags=["lab:package-data"]
@needs("mount namespaces")
def read_in_the_container():
    with expect_error(LabError, match=r"No such file.*scales/table\.toml"):
        modal_run(lab, "run", "data.py")


# %% [markdown]
# On your machine the same import works, so no test of yours would see it. `add_local_python_source` sends `.py` files and
# nothing else, unless it is told what to leave out. With a list of its own, all other files go:

# %%
PY_ONLY = 'add_local_python_source("scales")'
ALL = 'add_local_python_source("scales", ignore=["**/__pycache__/**"])'
lab.write("data.py", DATA.replace(PY_ONLY, ALL))
sent = modal_run(lab, "run", "data.py")
[path.removeprefix("/root/") for path in sent.files("table")]

# %% [markdown]
# This book's package has tables of prices, montages and failures. The program that you run below counts, in the
# container, the files of the package that are no Python.
#
# ## What must not be in the image
# <a id="lab-secret"></a>
#
# Recordings often lie in a storage that wants a key. Here somebody sets it as a variable of the image. The model knows the
# value of the Secret, and looks for it in everything that it was sent, that was printed, and that came back:

# %%
KEY = {"storage": {"STORAGE_KEY": "made-up-value-71c9"}}
LEAKY = """
    import modal

    key = {"STORAGE_KEY": "made-up-value-71c9"}
    image = modal.Image.debian_slim().env(key)
    app = modal.App("leaky", image=image)

    @app.function()
    def read(): ...
"""
lab.write("leaky.py", LEAKY)
leaky = modal_run(lab, "run", "leaky.py", secrets=KEY, run=False)
print("\n".join(leaky.leaks()).replace("/root", "~"))

# %% [markdown]
# It is in two places at once: in a layer, which is kept, and in the file that was sent. A command of an image
# (`run_commands("curl -H …")`) is a layer, too, and a later layer that deletes the file does not take it out. The right
# way: the value stays at Modal (`modal secret create storage STORAGE_KEY=…`), the program knows the name.

# %% tags=["setup"]
NAMED = """
    import modal

    app = modal.App("named", image=modal.Image.debian_slim())
    key = modal.Secret.from_name("storage", required_keys=["STORAGE_KEY"])

    @app.function(secrets=[key])
    def read():
        import os
        print("a key of", len(os.environ["STORAGE_KEY"]), "characters")
"""
program = lab.write("named.py", NAMED)

# %%
modal_run(lab, "run", "named.py", secrets=KEY).leaks()

# %% [markdown]
# The container has it, and nothing else does. `required_keys` has the service compare the names at the start, and not
# after an hour of work:

# %% tags=["lab:required-keys"]
with expect_error(LabError, match="STORAGE_KEY"):
    modal_run(lab, "run", "named.py", secrets={"storage": {"KEY": "made-up"}})

# %% [markdown]
# Our program goes one step further. It gives the Secret to the mount of the storage alone (`CloudBucketMount(…,
# secret=…, read_only=True)`), so that not even its own process sees the key.
#
# ## The smoke run
# <a id="lab-smoke"></a>
#
# All of it together: `test-mamba` takes both Mamba layers on a tensor of `[1, 100, 512]`, forward and backward, and
# compares each with this book's exact layer in 64 bits. `--gpu none` asks for a container without a GPU.

# %%
options = ("--action", "test-mamba", "--gpu", "none")
tested = modal_run(lab, "run", app_file, *options)

# %% [markdown]
# The numbers are errors as a share of the largest value, and of the size of rounding in 32 bits. The package was found by
# the container with its data files. The torch is *your* machine's: the model borrows its packages, since it builds no
# image.
#
# Now do it yourself, in a terminal, from the folder of the repository (`make workbook`, then `source .venv/bin/activate`).
# What stands behind `--` is the command as you would give it to Modal. `--volumes` names a folder in which Volumes live on
# between commands:
#
# ```bash
# MODEL="python -m helpers.cloud --volumes /tmp/volumes --"
# $MODEL modal run env/modal/app.py --action test-mamba --gpu none
# $MODEL modal run env/modal/app.py --action prepare --synthetic 8 --gpu none
# $MODEL modal run env/modal/app.py --action train --config smoke --gpu none
# $MODEL modal run env/modal/app.py --action evaluate --run smoke --gpu none
# ```
#
# The second line draws recordings (synthetic ones: no patient was recorded) and prepares them, each in a container of its
# own; the third trains on them, and the fourth scores what came out. On two cores they take about 10 seconds, 30 seconds, 3
# minutes and 10 seconds; each begins with some thirty lines on what the client declares. Press Ctrl-C in the training if you like: the same
# command goes on where it stopped. <!-- given: rounded, and they differ from machine to machine -->
#
# With an account, the same go to Modal, and two come before:
#
# ```bash
# modal setup                                                # once: your browser asks you
# modal run env/modal/app.py --action cost --config smoke    # asks nobody, costs nothing
# modal run env/modal/app.py --action test-mamba --recipe A --gpu L4
# modal run env/modal/app.py --action prepare --synthetic 8
# modal run --detach env/modal/app.py --action train --config smoke --gpu L4
# modal run env/modal/app.py --action evaluate --run smoke --gpu L4
# ```
#
# ## On a GPU
# <a id="lab-gpu"></a>
#
# A smoke layer is worth its place if it is quick. Here is its recorded command on a real GPU, as a build runs it: a fresh
# Python, the imports, a layer forward and backward. The parts are timed in a process of their own.


# %% tags=["setup", "hide-input"]
import shlex

TICK = """
import time
last = time.perf_counter()

def tick(what):
    global last
    torch.cuda.synchronize()
    print(f"{time.perf_counter() - last:6.2f} s  {what}")
    last = time.perf_counter()
"""


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "mamba_ssm")
def smoke_layer_on_a_gpu():
    lines = shlex.split(smoke)[-1].split("; ")
    timed = "\n".join(f"{line}; tick({line[:26]!r})" for line in lines)
    lab.run(sys.executable, *shlex.split(smoke)[1:], timeout=600)
    print("the command ends without an error; its parts:")
    print(lab.python(f"{TICK}\n{timed}", timeout=600))


# %% [markdown]
# And the body of `test-mamba` on the official layers, as it runs in the container of recipe A. (It is called directly, so
# that it also runs on machines that forbid containers. Its Volume is the model's.)


# %% tags=["lane:gpu", "skip-execution"]
@needs("a GPU", "mamba_ssm")
def body_of_test_mamba():
    code = f"""
        import runpy, sys, warnings
        warnings.simplefilter("ignore")  # that Volumes are not mounted here
        sys.argv = ["modal", "--recipe", "A", "--gpu", "H100"]
        app = runpy.run_path({str(app_file)!r})
        app["show_layers"](app["test_mamba"].local())
    """
    with LocalModal(run=False) as service:
        print(lab.python(code, env=service.client_environment(), timeout=600))


# %% [markdown]
# Two things to read there: `mamba_ssm` with its version, so that no stand-in was taken for it; and errors of the size
# of rounding, in the output *and* in the gradient. (Mamba-2's is larger because its kernels round the factors of their
# products to [TF32](06_mamba2_block.ipynb), 10 bits of fraction where 32-bit numbers have 23.)
#
# ## What can go wrong here
#
# - **"Token missing", or a minute of silence and "Could not connect".** A command went to Modal itself, without an account
#   or without a network. In front of it belongs `python -m helpers.cloud --`.
# - **It asks `modal` for something, and `there is no …` comes back.** The model knows what this book uses; Volumes are plain
#   folders, below the one that `--volumes` names.
# - **`recorded, not run`.** Your machine forbids mount namespaces (often inside a container). Layers, files and refusals
#   are there; Functions do not run.
# - **`No module named` in the container, and it works at home.** It was not sent, or the image lacks the package. The model
#   sees the first; the second it cannot see, since it borrows your packages.
# - **The image is built again each time.** Something in an early layer changes with each run: a date, a temporary file, a
#   package without a version.
# - **`Path(__file__).parents[2]` fails in the container.** There the file is `/root/app.py`. What reads the repository has
#   to run on your machine (`modal.is_local()`).
#
# ## Exercises

# %% [markdown]
# **03.1** Write `built_again(before, after)`: two lists of commands, one a layer, from the base. Return the commands of
# `after` that have to be built when the layers of `before` are kept.

# %%
from helpers.teaching import check, solution


def built_again(before, after): ...


check("03.1", built_again)

# %% tags=["remove-input"]
solution("03.1")

# %% [markdown]
# **03.2** Write `misfits(commands)`: the names of the packages (`"mamba_ssm"`) whose wheel was made for another torch
# than the one that is installed. Commands are those of a recorded image: one of them has `torch==2.10.0`, and wheels are
# addresses such as `https://…/mamba_ssm-2.3.1+cu12torch2.10cxx11abiTRUE-cp311-cp311-linux_x86_64.whl`. Compare major and
# minor version.


# %%
def misfits(commands): ...


check("03.2", misfits)

# %% tags=["remove-input"]
solution("03.2")

# %% [markdown]
# **03.3** Write `leaking(layers, secrets)`: the keys of Secrets whose *value* stands in a layer, sorted. `layers` is a list
# of lists of commands; `secrets` a dictionary from keys to values. A key that is named is no leak; a value in any command
# is, and a value that is empty cannot be.


# %%
def leaking(layers, secrets): ...


check("03.3", leaking)

# %% tags=["remove-input"]
solution("03.3")

# %% [markdown]
# ## Recap
#
# - An image is a list of commands, cut into layers. You can read it before it is built.
# - A changed layer is built again, with all that follow. Seldom changed first, often changed last, your own code mounted.
# - A wheel is installed without a look at torch, so try it in a layer that asks for a GPU: forward and backward.
# - The client checks words and types. A timeout, a GPU and the commands are checked later, and later costs more.
# - In a container there is what you sent. In a layer there must be no secret.
#
# ## What next
#
# [Chapter 04](04_jetson_patch.ipynb) goes to the other end: a small computer, where you cannot choose the wheel. Back on
# Modal, [chapter 13](13_modal_training.ipynb) trains past the limit of a day, and says what it costs before you start.
