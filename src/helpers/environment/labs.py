"""Failure labs: break something for real in a throwaway folder, and read the exact error.

`Lab` is the place and `expect_error` the reader. A lab keeps its files apart, not its processes: what runs in it can
reach all that you can, so it is no sandbox for code that you do not trust. It names no failure and mends none.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import os
import re
import shlex
import shutil
import signal
import site
import stat
import subprocess
import sys
import tempfile
import textwrap
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from helpers.environment.artifacts import wheelhouse
from helpers.environment.compiling import compile_command

try:
    import fcntl
except ImportError:  # Windows, where this package still has to import
    fcntl = None

_PREFIX = "workbook-lab-"
_LONG = 10  # lines of a message that are shown whole
_ENDS, _NEAR = 3, 2  # of a longer one: from each end, and around the match
_TAIL = 15  # lines of output that a LabError repeats
_INSTALL_SECONDS = 1800.0
_folders: list[str] = []  # of every lab of this process: an error may outlive the lab that it came from


@contextlib.contextmanager
def expect_error(type: type[BaseException], match: str) -> Iterator[_Caught]:
    """Assert that the block raises this error, print it, and go on.

    What is printed is `TypeName: message`, with the paths of this machine shortened as `Lab.hide` does. Of a message of
    many lines, its ends and the match are shown.

    Parameters
    ----------
    type : class of exception
        A subclass matches too.
    match : str
        Regular expression that is searched in the error's text, either as it is or with its paths shortened.

    Yields
    ------
    object
        Its `error` is the exception, after the block, and None before.

    Raises
    ------
    AssertionError
        Where the block ran without an error, or raised another one, which is then the cause. `KeyboardInterrupt`,
        `SystemExit` and their like pass through unless `type` names them.

    Examples
    --------
    >>> with expect_error(ZeroDivisionError, match="by zero"):
    ...     1 / 0
    ZeroDivisionError: division by zero
    """
    pattern, expected, caught = re.compile(match), f"expected {type.__name__} matching `{match}`", _Caught()
    try:
        yield caught
    except BaseException as error:
        if not isinstance(error, (type, Exception)):
            raise
        if not isinstance(error, type):
            raise AssertionError(f"another error came, {expected}. It was\n{_shown(error, pattern)}") from error
        if not any(pattern.search(text) for text in (str(error), _hide(str(error)))):
            raise AssertionError(f"the message is another, {expected}. It was\n{_shown(error, pattern)}") from error
        caught.error = error
    if caught.error is None:
        raise AssertionError(f"the block ran without an error, {expected}. What should break here did not.")
    print(_shown(caught.error, pattern))


class _Caught:
    """What `expect_error` yields."""

    error: BaseException | None = None


class LabError(Exception):
    """A command in a lab failed, was ended by a signal, or ran out of time.

    Attributes
    ----------
    output : str
        All that it printed, standard output and error together, with paths shortened as `Lab.hide` does.
    returncode : int or None
        Exit status; negative for a signal, 127 where the command cannot be started, None where its time was up.
    """

    def __init__(self, message: str, output: str = "", returncode: int | None = None):
        super().__init__(message)
        self.output, self.returncode = output, returncode


class Lab:
    """A throwaway folder in which things are broken for real.

    The folder goes with `close()`, at the end of a `with` block, with the last reference to the lab, and when Python
    ends. Where Python was killed, the next `Lab()` of the same user removes what is left.

    Attributes
    ----------
    folder : Path
        Commands run here, and `lab / "name"` is a path below it.

    Raises
    ------
    OSError
        On Windows: a lab needs Linux or macOS (WSL2 is Linux).

    Examples
    --------
    >>> lab = Lab()
    >>> path = lab.write("greeting.py", "word = 'hello'")
    >>> lab.python("import greeting; print(greeting.word)")
    'hello'
    """

    def __init__(self) -> None:
        if fcntl is None:
            raise OSError(f"a lab needs Linux or macOS, found {sys.platform}. On Windows, use WSL2.")
        _sweep()
        self._place, lock = _claim()
        self.folder = self._place / "lab"  # beside the lock, so that the reader finds the folder empty
        self.folder.mkdir()
        (self._place / "tmp").mkdir()
        _folders.append(str(self.folder))
        self._finalizer = weakref.finalize(self, _remove, self._place, lock, os.getpid())

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        """Return the path of `name` in the lab; ValueError where it leads out of the folder."""
        if not self._finalizer.alive:
            raise ValueError("this lab is closed and its folder is gone. Make a new one with Lab().")
        path = Path(os.path.normpath(self.folder / name))
        if not path.is_relative_to(self.folder):
            raise ValueError(f"{os.fspath(name)!r} is outside the lab. Give a name inside its folder.")
        return path

    def write(self, name: str | os.PathLike[str], content: str | bytes) -> Path:
        """Write a file, and the folders that it needs.

        Parameters
        ----------
        name : str or Path
            In the lab's folder.
        content : str or bytes
            Text is dedented, without the line break behind opening quotes, and written as UTF-8.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            Where the file would be outside the lab, be it through a symbolic link (as `venv/bin/python` is one).
        """
        path = self / name
        if not path.resolve().is_relative_to(self.folder):
            raise ValueError(f"{os.fspath(name)!r} is a link that leads out of the lab. Remove the link first.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else _dedented(content).encode())
        return path

    def run(
        self,
        *command: str | os.PathLike[str],
        env: Mapping[str, str | os.PathLike[str] | None] | None = None,
        folder: str | os.PathLike[str] = ".",
        timeout: float = 120.0,
    ) -> str:
        """Run a command in the lab's folder.

        Parameters
        ----------
        *command : str or Path
            Program and arguments; no shell reads them.
        env : mapping, optional
            Changes to the environment variables of this process; None removes one. Unless changed here, Python writes
            no bytecode (a file that is changed twice in a second would be read as it was) and buffers no output, and
            nothing is asked to print color.
        folder : str or Path
            Where in the lab it runs.
        timeout : float
            Seconds, after which the command and what it started are killed.

        Returns
        -------
        str
            What it printed, standard output and error together, without line breaks at the end and with paths
            shortened as `hide` does.

        Raises
        ------
        LabError
            Where the exit status is not 0.
        """
        words = [os.fspath(word) for word in command]
        returncode, output = self._run(words, env, folder, timeout)
        if returncode != 0:
            raise _failure(_hide(shlex.join(words)), returncode, output, timeout)
        return output

    def python(
        self,
        code: str,
        env: Mapping[str, str | os.PathLike[str] | None] | None = None,
        python: str | os.PathLike[str] | None = None,
        folder: str | os.PathLike[str] = ".",
        timeout: float = 120.0,
    ) -> str:
        """Run code in a fresh Python process, in a folder of the lab, whose modules it can import.

        Parameters
        ----------
        code : str
            Dedented as `write` does.
        env, folder, timeout
            As for `run`.
        python : str or Path, optional
            What `environment` returned, or another interpreter, which then sees no PYTHONPATH of this process; this
            process's own when left out.

        Returns
        -------
        str
            What it printed, as for `run`.

        Raises
        ------
        Exception
            Where the code ends with an exception of a built-in type (`ImportError`, `OSError`), one of the same type
            with the same message. Its `output`, as that of a `LabError`, holds the whole traceback.
        LabError
            Where the type is no built-in (the text then begins with `module.Type: message`), the exit status is not 0,
            the process was ended by a signal, or its time was up.
        """
        with tempfile.NamedTemporaryFile(dir=self._place if self._finalizer.alive else None) as report:
            runner = _RUNNER % (_dedented(code), report.name)
            env = env if python is None else {"PYTHONPATH": None, **(env or {})}
            returncode, output = self._run([os.fspath(python or sys.executable), "-c", runner], env, folder, timeout)
            raised = report.read().decode()
        if returncode is not None and raised:
            error = _rebuilt(raised)
            error.output, error.returncode = output, returncode
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(f"The fresh process printed:\n{output}")
            raise error
        if returncode != 0:
            raise _failure("python", returncode, output, timeout)
        return output

    def environment(self, *requirements: str, name: str = "venv", inherit: bool = False) -> Path:
        """Make a virtual environment in the lab, and install into it.

        It has no pip of its own: `pip` installs into it from outside.

        Parameters
        ----------
        *requirements : str
            As `pip install` takes them, out of the wheels that `workbook data fetch` keeps for the labs.
        name : str
            Of its folder in the lab.
        inherit : bool
            Whether it sees the packages of this process too, behind its own.

        Returns
        -------
        Path
            Its Python, for `python`, `pip` and `run`.

        Raises
        ------
        LabError
            Where `venv` or `pip` fails.
        """
        folder = self / name
        self.run(sys.executable, "-m", "venv", "--without-pip", folder, timeout=_INSTALL_SECONDS)
        python = folder / "bin" / "python"
        if inherit:
            packages = next((folder / "lib").glob("python*")) / "site-packages"
            added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
            packages.joinpath("inherited.pth").write_text("\n".join([*added, *site.getsitepackages()]))
        if requirements:
            self.pip("install", *requirements, python=python)
        return python

    def pip(
        self,
        *arguments: str | os.PathLike[str],
        python: str | os.PathLike[str],
        env: Mapping[str, str | os.PathLike[str] | None] | None = None,
    ) -> str:
        """Run pip for an environment of the lab, cut off from every index and from pip's settings on this machine.

        Parameters
        ----------
        *arguments : str or Path
            As behind `pip`: `"install", "--no-build-isolation", archive`. What it looks for has to lie among the
            wheels that `workbook data fetch` keeps for the labs.
        python : str or Path
            What `environment` returned.
        env : mapping, optional
            As for `run`.

        Returns
        -------
        str
            What it printed, as for `run`.

        Raises
        ------
        LabError
            Where the exit status is not 0.
        """
        alone = {
            "PYTHONPATH": None,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": wheelhouse(),
            "PIP_CACHE_DIR": self / "pip-cache",
            "PIP_NO_COMPILE": "0",  # pip reads it as the value of `compile`, so 0 turns it off
            "PIP_PROGRESS_BAR": "off",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        command = (sys.executable, "-m", "pip", "--python", python, *arguments)
        return self.run(*command, env={**alone, **(env or {})}, timeout=_INSTALL_SECONDS)

    def build(
        self,
        source: str | os.PathLike[str],
        links: Sequence[str] = (),
        flags: Sequence[str] = (),
        output: str | os.PathLike[str] | None = None,
    ) -> Path:
        """Compile one source file of the lab into a shared library, as a torch extension is compiled.

        Parameters
        ----------
        source : str or Path
            A `.c`, `.cpp` or `.cu` file in the lab's folder; gcc, g++ or nvcc compiles it.
        links : sequence of str
            Libraries, as after `-l`: torch's (`c10`, `torch_cpu`), the system's, and those of the output's folder.
        flags : sequence of str
            Further options of the compiler.
        output : str or Path, optional
            In the lab's folder; the source's name with `.so` when left out, which Python imports.

        Returns
        -------
        Path

        Raises
        ------
        LabError
            Where the compiler fails or is not there.
        FileNotFoundError
            Where a library of torch is asked for and torch is not installed.
        """
        source = self / source
        target = self / (source.with_suffix(".so") if output is None else output)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.run(*compile_command(source, target, links, flags), timeout=_INSTALL_SECONDS)
        return target

    def hide(self, text: str) -> str:
        """Return `text` with the lab's folder as `<lab>`, `sys.prefix` as `<env>` and the home folder as `~`.

        So an output that is stored is the same on every run. The folders of a system (`/`, `/usr`, `/usr/local`) stay
        as they are, and the folders of other labs of this process are `<lab>` too.
        """
        return _hide(text)

    def close(self) -> None:
        """Remove the folder; a second time does nothing."""
        self._finalizer()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "Lab()" if self._finalizer.alive else "Lab(closed)"

    def _run(
        self, command: list[str], env: Mapping | None, folder: str | os.PathLike[str], timeout: float
    ) -> tuple[int | None, str]:
        """Return exit status (None when the time was up, 127 when it cannot be started) and output.

        Output goes to a file: a pipe would stay open as long as anything that the command left running.
        """
        folder = self / folder  # refuses a closed lab
        with tempfile.TemporaryFile() as out:
            options = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": subprocess.STDOUT}
            try:
                child = subprocess.Popen(command, cwd=folder, env=self._environ(env), start_new_session=True, **options)
            except OSError as error:
                return 127, _hide(str(error))
            try:
                returncode = child.wait(timeout)
            except BaseException as error:  # the time is up, or the reader interrupts
                _kill_group(child)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                returncode = None
            out.seek(0)
            return returncode, _hide(out.read().decode(errors="replace").rstrip("\n"))

    def _environ(self, changes: Mapping | None) -> dict[str, str]:
        environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environ["TMPDIR"] = str(self._place / "tmp")  # what a killed pip or compiler leaves goes with the lab
        forced = {"FORCE_COLOR": None, "CLICOLOR_FORCE": None}  # ipykernel sets both in every notebook
        for name, value in {**forced, **(changes or {})}.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = os.fspath(value)
        return environ


# Runs code as `python -c` would: as `__main__`, with the same sys.argv and sys.path. It imports nothing but sys, since
# the lab's folder comes first and may hold a json.py. Both fields are ASCII literals, so no locale can garble them.
_RUNNER = """\
import sys
runner, sys.modules["__main__"] = sys.modules["__main__"], type(sys)("__main__")
try:
    exec(compile(%a, "<code>", "exec"), vars(sys.modules["__main__"]))
except SystemExit:
    raise
except BaseException as error:
    kind = type(error)
    made = error.__reduce__()[1:] if kind.__module__ == "builtins" else ()
    with open(%a, "w") as report:
        report.write(ascii((kind.__module__, kind.__qualname__, str(error), ascii(made))))
    error.__traceback__ = error.__traceback__.tb_next
    sys.excepthook(kind, error, error.__traceback__)
    sys.exit(1)
"""


def _rebuilt(raised: str) -> Exception:
    """Return the exception that the runner reported: arguments and attributes too where they are literals."""
    module, name, message, made = ast.literal_eval(raised)
    kind = getattr(builtins, name, None) if module == "builtins" else None
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(Exception):
            arguments, *state = ast.literal_eval(made)
            error = kind(*arguments)
            if state:
                error.__setstate__(state[0])
            if str(error) == message:
                return error
        with contextlib.suppress(TypeError):  # UnicodeDecodeError and ExceptionGroup take more than a message
            return kind(_Said(message))
    name = name if module == "builtins" else f"{module}.{name}"
    return LabError(f"{name}: {message}" if message else name)


class _Said(str):
    """A message that a KeyError does not quote."""

    __repr__ = str.__str__


def _failure(command: str, returncode: int | None, output: str, timeout: float) -> LabError:
    if returncode is None:
        end = f"did not end within {timeout:g} s and was killed"
    elif returncode < 0:
        known = {int(number): number.name for number in signal.Signals}
        end = f"was ended by {known.get(-returncode, f'signal {-returncode}')}"
    else:
        end = f"ended with exit code {returncode}"
    lines = output.splitlines()[-_TAIL:]
    return LabError("\n".join([f"`{command}` {end}" + ":" * bool(lines), *lines]), output, returncode)


def _kill_group(child: subprocess.Popen) -> None:
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a driver call, it survives SIGKILL
        child.wait(5)


def _dedented(text: str) -> str:
    return textwrap.dedent(text.removeprefix("\n"))


def _shown(error: BaseException, pattern: re.Pattern[str]) -> str:
    """Return the error as it should be read: of many lines, the ends and those around the match."""
    kind, message = type(error).__name__, _hide(str(error))
    text = f"{kind}: {message}" if message else kind
    lines = text.splitlines()
    if len(lines) > _LONG:
        kept = {*range(_ENDS), *range(len(lines) - _ENDS, len(lines))}
        found = pattern.search(text)
        if found:
            first, last = (text.count("\n", 0, at) for at in found.span())
            kept |= set(range(first - _NEAR, last + _NEAR + 1))
        lines = _cut(lines, kept)
    return "\n".join(lines).encode(errors="backslashreplace").decode()


def _cut(lines: list[str], kept: set[int]) -> list[str]:
    shown, left_out = [], 0
    for number, line in enumerate(lines):
        if number in kept or {number - 1, number + 1} <= kept:  # a note about one line would be no shorter
            shown += [f"[{left_out} lines left out]"] * bool(left_out)
            shown.append(line)
            left_out = 0
        else:
            left_out += 1
    return shown


def _hide(text: str) -> str:
    names = dict.fromkeys(_folders, "<lab>") | {f"{folder[:-3]}tmp": "<tmp>" for folder in _folders}
    for place, name in ((sys.prefix, "<env>"), (os.environ.get("HOME"), "~")):
        for form in {Path(place), Path(place).resolve()} if place else ():
            if str(form) not in ("/", "/usr", "/usr/local"):
                names.setdefault(str(form), name)
    if not names:
        return text
    # A whole path and no part of a longer one: /root in "-L/root/lib" and "in /root.", not in /opt/root or /root2.
    places = "|".join(re.escape(place) for place in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w.]{{2}})(?:{places})(?![\w-]|\.\w)", lambda found: names[found[0]], text)


def _claim() -> tuple[Path, int]:
    """Make a folder and lock it for as long as this process lives or the lab does."""
    while True:
        place = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")).resolve()
        lock = _lock(place)
        if lock is not None:  # else a sweep was faster
            return place, lock


def _lock(place: Path) -> int | None:
    """Return an open lock on a lab's folder, None where somebody holds it or the folder has gone.

    The kernel drops the lock when its last holder ends, however it ends. A process id would not do: it is used again,
    and in a /tmp that containers share it means another process.
    """
    path = place / "lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    held = False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.path.samestat(os.fstat(lock), path.stat())  # not one that was removed in between
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not held:
            os.close(lock)
    return lock if held else None


def _sweep() -> None:
    """Remove what killed processes of this user left."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            facts = place.lstat()
            if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid():
                lock = _lock(place)
                if lock is not None:
                    _remove(place, lock, os.getpid())


def _remove(place: Path, lock: int, owner: int) -> None:
    if os.getpid() != owner:  # a forked child ends with a copy of the lab, which is not its own
        return
    for folder, names, _ in os.walk(place):
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(0o700)  # a lab may have made it read-only
    shutil.rmtree(place, ignore_errors=True)
    os.close(lock)
