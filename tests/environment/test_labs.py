"""Failure labs: what they accept, what they refuse, and that nothing of them stays behind."""

from __future__ import annotations

import gc
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

from helpers.environment import Lab, LabError, expect_error
from helpers.environment.elf import read_extension


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own, so that it sweeps nobody's labs and nobody sweeps its own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def lab(temporary):
    with Lab() as lab:
        yield lab


def start(code: str) -> tuple[subprocess.Popen, str]:
    """Start a process that makes `lab`, runs `code`, and waits; return it and the first line that it prints."""
    code = f"import os, sys; from helpers.environment import Lab; lab = Lab(); {code}; sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return child, child.stdout.readline().strip()


def end(child: subprocess.Popen, number: int | None = None) -> None:
    if number is not None:
        child.send_signal(number)
    child.communicate(timeout=30)


# expect_error


def test_the_expected_error_is_printed_and_the_cell_goes_on(capsys):
    with expect_error(LookupError, match=r"^'F[pz]1'$") as caught:
        {}["Fp1"]
    assert capsys.readouterr().out == "KeyError: 'Fp1'\n"
    assert type(caught.error) is KeyError
    with expect_error(ValueError, match=""):
        raise ValueError
    assert capsys.readouterr().out == "ValueError\n"


def test_no_error_is_an_error(capsys):
    message = "without an error, expected OSError matching `no space`"
    with pytest.raises(AssertionError, match=message), expect_error(OSError, match="no space"):
        pass
    assert capsys.readouterr().out == ""


def test_another_type_is_an_error():
    message = r"^another error .*expected ImportError matching `x`.*\nTypeError: x is 3$"
    with pytest.raises(AssertionError, match=message) as found, expect_error(ImportError, match="x"):
        raise TypeError("x is 3")
    assert isinstance(found.value.__cause__, TypeError)


def test_a_superclass_of_the_expected_type_is_an_error():
    with pytest.raises(AssertionError, match="another error"), expect_error(ModuleNotFoundError, match="c10"):
        raise ImportError("c10")


def test_another_message_is_an_error():
    message = r"^the message is another, expected OSError matching `libc10`.*\nOSError: libc11\.so: gone$"
    with pytest.raises(AssertionError, match=message) as found, expect_error(OSError, match="libc10"):
        raise OSError("libc11.so: gone")
    assert isinstance(found.value.__cause__, OSError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_unless_it_is_expected(error):
    with pytest.raises(error), expect_error(ValueError, match=""):
        raise error("stop")
    with expect_error(error, match="stop"):
        raise error("stop")


def test_a_message_of_many_lines_is_cut(capsys):
    first = f"undefined symbol: _ZN3c106detail14{'torchCheckFail' * 12} in {'a library ' * 15}"  # a line stays a line
    rows = [f"row {row}" for row in range(57)]
    with expect_error(RuntimeError, match="torchCheckFail"):
        raise RuntimeError("\n".join([first, "    ^~~~~ here", *rows]))
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == [f"RuntimeError: {first}", "    ^~~~~ here", "row 0"]
    assert printed[-1] == "row 56"
    assert len(printed) == 7
    left_out = [int(line.split()[0][1:]) for line in printed if line.endswith("lines left out]")]
    assert left_out == [57 - sum(line.startswith("row") for line in printed)]


def test_the_match_in_a_message_of_many_lines_is_shown_with_its_neighbors(capsys):
    rows = [f"row {row}" for row in range(57)]
    with expect_error(RuntimeError, match=r"row 6\nrow 7"):
        raise RuntimeError("\n".join(rows))
    printed = capsys.readouterr().out.splitlines()
    assert printed[:9] == ["RuntimeError: row 0", *rows[1:9]]
    assert printed[9:] == [f"row {9}", "[44 lines left out]", *rows[54:]]
    with expect_error(RuntimeError, match="row 30"):
        raise RuntimeError("\n".join(rows))
    printed = capsys.readouterr().out.splitlines()
    assert printed[3:10] == ["[25 lines left out]", *rows[28:33], "[21 lines left out]"]
    with expect_error(RuntimeError, match="row 5"):
        raise RuntimeError("\n".join(rows[:10]))
    assert "left out" not in capsys.readouterr().out


def test_what_is_printed_names_no_machine_even_when_the_lab_is_gone(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with expect_error(OSError, match=r"<lab>/a\.so, .*~/b") as caught, Lab() as lab:
        raise OSError(f"{lab.folder}/a.so, {sys.prefix}/lib and {tmp_path}/home/b")
    assert capsys.readouterr().out == "OSError: <lab>/a.so, <env>/lib and ~/b\n"
    assert str(lab.folder) in str(caught.error)


# Files


def test_files(lab):
    path = lab.write(
        "package/deep/module.py",
        """
        if True:
            word = "µV"
        """,
    )
    assert path == lab / "package/deep" / "module.py"
    assert path.read_text(encoding="utf-8") == 'if True:\n    word = "µV"\n'
    assert lab.write(lab / "raw", b"\n  \x00\xff").read_bytes() == b"\n  \x00\xff"
    assert repr(lab) == "Lab()"


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/passwd", "../lab2"])
def test_no_name_leaves_the_folder(lab, name):
    with pytest.raises(ValueError, match=re.escape(f"{name!r} is outside the lab")):
        lab / name
    with pytest.raises(ValueError, match="outside the lab"):
        lab.write(name, "escaped")
    assert lab / "a/../b" == lab.folder / "b"


def test_no_file_is_written_through_a_link_that_leads_out(lab, tmp_path):
    outside = tmp_path / "python"
    outside.write_text("precious")
    (lab / "python").symlink_to(outside)
    (lab / "folder").symlink_to(tmp_path)
    for name in ("python", "folder/python", "folder/new"):
        with pytest.raises(ValueError, match="link that leads out"):
            lab.write(name, "broken")
    assert outside.read_text() == "precious"
    assert not (tmp_path / "new").exists()


# Commands


def test_run_returns_both_streams_in_order(lab):
    lab.write("words", "one\n")
    assert lab.run("sh", "-c", "cat words; echo two >&2; echo three; echo") == "one\ntwo\nthree"


def test_a_command_that_fails_says_how(lab):
    script = "for row in $(seq 40); do echo row $row; done; exit 3"
    with pytest.raises(LabError, match=r"^`sh -c 'for .*` ended with exit code 3:\nrow 26\n(.*\n)+row 40$") as found:
        lab.run("sh", "-c", script)
    assert found.value.returncode == 3
    assert len(found.value.output.splitlines()) == 40


def test_a_command_that_is_not_there(lab):
    with pytest.raises(LabError, match=r"exit code 127:\n.*No such file or directory: 'no-such-compiler'") as found:
        lab.run("no-such-compiler", "--version")
    assert found.value.returncode == 127


def test_environment_variables_are_changed_and_removed_for_the_command_only(lab, monkeypatch):
    monkeypatch.setenv("LAB_KEPT", "kept")
    monkeypatch.setenv("LAB_REMOVED", "still here")
    show = 'echo "$LAB_KEPT ${LAB_REMOVED-removed} $LAB_ADDED"'
    assert lab.run("sh", "-c", show) == "kept still here "
    added = lab.run("sh", "-c", show, env={"LAB_REMOVED": None, "LAB_NEVER_SET": None, "LAB_ADDED": Path("/a")})
    assert added == "kept removed /a"
    assert os.environ["LAB_REMOVED"] == "still here"
    assert "LAB_ADDED" not in os.environ


def test_no_command_is_told_to_print_color(lab, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as ipykernel does
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert lab.run("sh", "-c", 'echo "${FORCE_COLOR-no} ${CLICOLOR_FORCE-no}"') == "no no"
    assert lab.run("sh", "-c", 'echo "$FORCE_COLOR"', env={"FORCE_COLOR": "3"}) == "3"


BEATING = "(while :; do echo >> beat; sleep 0.02; done) & echo started; wait"


def beats_after(lab) -> int:
    before = (lab / "beat").stat().st_size
    time.sleep(0.3)
    return (lab / "beat").stat().st_size - before


def test_a_command_whose_time_is_up_is_killed_with_all_that_it_started(lab):
    began = time.monotonic()
    with pytest.raises(LabError, match=r"did not end within 0\.3 s and was killed:\nstarted$") as found:
        lab.run("sh", "-c", BEATING, timeout=0.3)
    assert time.monotonic() - began < 5
    assert found.value.returncode is None
    assert found.value.output == "started"
    assert beats_after(lab) == 0


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts; a shell that starts the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_command_is_killed_with_all_that_it_started(lab):
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        lab.run("sh", "-c", BEATING)
    assert beats_after(lab) == 0


def test_what_a_command_leaves_running_does_not_hold_the_cell(lab):
    began = time.monotonic()
    assert lab.run("sh", "-c", "sleep 3 & echo done") == "done"
    assert time.monotonic() - began < 2


def test_output_names_no_machine(lab, monkeypatch, tmp_path):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    text = (
        f"-L{home}/lib:{home} {home}2 {home}.old /mnt{home} {lab.folder}2 {lab.folder}/x in {lab.folder}. {sys.prefix}"
    )
    shown = f"-L~/lib:~ {home}2 {home}.old /mnt{home} {lab.folder}2 <lab>/x in <lab>. <env>"
    assert lab.hide(text) == shown
    assert lab.run("printf", "%s", text) == shown
    assert lab.run("pwd") == "<lab>"
    with pytest.raises(LabError) as found:
        lab.run("cat", lab / "none")
    assert "cat <lab>/none" in str(found.value)
    assert str(lab.folder) not in str(found.value) + found.value.output


def test_system_folders_are_not_hidden(lab, monkeypatch):
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert lab.hide("/usr/bin/ld: cannot find -lc10 in /opt") == "/usr/bin/ld: cannot find -lc10 in /opt"


# Python


def test_python_prints_and_imports_from_the_lab(lab):
    code = """
        import sys
        import montage
        print("first")
        sys.stderr.write("second\\n")
        print(montage.count, __name__, sys.modules["__main__"].montage is montage, sys.argv)
    """
    lab.write("montage.py", "count = 19")
    lab.write("json.py", "raise SystemExit('the wrong json')")
    assert lab.python(code) == "first\nsecond\n19 __main__ True ['-c']"
    assert "montage" not in sys.modules


def test_a_module_that_is_changed_at_once_is_read_anew(lab):
    for count in range(10, 14):
        lab.write("montage.py", f"count = {count}")
        assert lab.python("import montage; print(montage.count)") == str(count)


MULTILINE = "libc10.so: 打不开 – µV\n  wants 'GLIBCXX_3.4.32'\n\ttail \udc80"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"raise ImportError({MULTILINE!a})", ImportError(MULTILINE)),
        ("import no_such_module", ModuleNotFoundError("No module named 'no_such_module'", name="no_such_module")),
        ("open('none.edf')", FileNotFoundError(2, "No such file or directory", "none.edf")),
        ("b'EEG \\xb5V'.decode()", UnicodeDecodeError("utf-8", b"EEG \xb5V", 4, 5, "invalid start byte")),
        ("{}['Fp1']", KeyError("Fp1")),
        ("raise KeyError(object)", KeyError(object)),
        ("raise RuntimeError", RuntimeError()),
        ("sys.exit()", NameError("name 'sys' is not defined")),  # though our own runner imports it
        ("x = = 1", SyntaxError("invalid syntax (<code>, line 1)")),
    ],
)
def test_an_exception_in_the_fresh_process_is_raised_here(lab, code, expected):
    with pytest.raises(type(expected)) as found:
        lab.python(code, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert type(found.value) is type(expected)
    assert str(found.value) == str(expected)
    if isinstance(expected, (ImportError, OSError)):
        for attribute in ("name", "errno", "filename"):
            assert getattr(found.value, attribute, None) == getattr(expected, attribute, None)
    assert 'File "<code>", line 1' in found.value.output
    assert "<string>" not in found.value.output  # our own runner is no part of the traceback


def test_the_whole_traceback_of_the_fresh_process_is_kept(lab):
    lab.write("reader.py", "def read():\n    raise OSError('truncated')\n")
    with pytest.raises(OSError, match="truncated") as found:
        lab.python("print('before')\nimport reader\nreader.read()")
    assert str(found.value) == "truncated"
    lines = found.value.output.splitlines()
    assert lines[:3] == ["before", "Traceback (most recent call last):", '  File "<code>", line 3, in <module>']
    assert lines[3] == '  File "<lab>/reader.py", line 2, in read'
    assert lines[-1] == "OSError: truncated"
    if sys.version_info >= (3, 11):
        assert found.value.output in found.value.__notes__[0]


@pytest.mark.parametrize(
    ("code", "begins"),
    [
        ("import json; json.loads('{')", "json.decoder.JSONDecodeError: Expecting property name"),
        ("class Odd(ImportError): pass\nraise Odd('two\\nlines')", "__main__.Odd: two\nlines"),
        ("import asyncio; raise asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),  # here it would look as if the reader had pressed stop
    ],
)
def test_a_type_that_this_process_cannot_raise_becomes_a_lab_error(lab, code, begins):
    with pytest.raises(LabError) as found:
        lab.python(code)
    assert str(found.value).startswith(begins)
    assert found.value.returncode == 1
    assert "Traceback" in found.value.output


def test_exit_codes(lab):
    assert lab.python("print('fine'); raise SystemExit") == "fine"
    for code, status in [("import sys; sys.exit(7)", 7), ("import os; os._exit(9)", 9)]:
        with pytest.raises(LabError, match=rf"^`python` ended with exit code {status}$") as found:
            lab.python(code)
        assert found.value.returncode == status
    with pytest.raises(LabError, match=r"exit code 1:\nno GPU$"):
        lab.python("raise SystemExit('no GPU')")


def test_death_by_a_signal_is_named(lab):
    with pytest.raises(LabError, match=r"^`python` was ended by SIGSEGV:\nabout to crash$") as found:
        lab.python("import os, signal; print('about to crash'); os.kill(os.getpid(), signal.SIGSEGV)")
    assert found.value.returncode == -signal.SIGSEGV


def test_python_whose_time_is_up(lab):
    with pytest.raises(LabError, match=r"^`python` did not end within 0\.3 s and was killed"):
        lab.python("while True: pass", timeout=0.3)


def test_a_virtual_environment_with_a_package(lab):
    with zipfile.ZipFile(lab / "tiny_scan-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_scan.py", "width = 4")
        wheel.writestr("tiny_scan-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-scan\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_scan-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_scan-1.0.dist-info/RECORD", "")
    python = lab.environment("./tiny_scan-1.0-py3-none-any.whl", name="clean")
    assert python == lab / "clean/bin/python"
    assert lab.python("import sys, tiny_scan; print(sys.prefix, tiny_scan.width)", python=python) == "<lab>/clean 4"
    with pytest.raises(ModuleNotFoundError, match="pytest"):
        lab.python("import pytest", python=python)


def test_an_environment_is_kept_from_the_python_path_of_this_process(lab, monkeypatch, tmp_path):
    (tmp_path / "added.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lab.python("import added")
    lab.python("import added", python=lab.environment(name="seeing", inherit=True))
    with pytest.raises(ModuleNotFoundError, match="added"):
        lab.python("import added", python=lab.environment(name="bare"))


def test_an_environment_may_see_the_packages_of_this_one(lab):
    seeing = lab.environment(name="seeing", inherit=True)
    assert lab.python("import sys, pytest; print(sys.prefix)", python=seeing) == "<lab>/seeing"
    assert "Version: " in lab.pip("show", "pytest", python=seeing)


def test_pip_installs_from_the_labs_wheels_and_reaches_no_index(lab, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")  # would be asked if pip looked at this machine's settings
    python = lab.environment("einops")
    assert lab.python("import einops; print(einops.__version__)", python=python) == "0.8.2"
    assert not list((lab / "venv").rglob("einops/**/*.pyc"))
    with pytest.raises(LabError, match="No matching distribution found for no-such-package"):
        lab.pip("install", "no-such-package", python=python)


def test_environments_that_cannot_be_made(lab):
    lab.write("taken", "a file")
    with pytest.raises(
        LabError, match=r"-m venv --without-pip <lab>/taken` ended with exit code 1:\n(.*\n)*.*<lab>/taken"
    ):
        lab.environment(name="taken")
    with pytest.raises(ValueError, match="outside the lab"):
        lab.environment(name="../venv")


# Compiling

WIDTH = """
    #define PY_SSIZE_T_CLEAN
    #include <Python.h>
    static PyObject* width(PyObject* self, PyObject* none) { return PyLong_FromLong(%s); }
    static PyMethodDef methods[] = {{"width", width, METH_NOARGS, ""}, {0, 0, 0, 0}};
    static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tiny_scan", 0, -1, methods};
    PyMODINIT_FUNC PyInit_tiny_scan(void) { return PyModule_Create(&module); }
"""


def test_a_module_is_built_and_imported(lab):
    lab.write("tiny_scan.c", WIDTH % "WIDTH")
    assert lab.build("tiny_scan.c", flags=["-DWIDTH=3"]) == lab / "tiny_scan.so"
    assert lab.python("import tiny_scan; print(tiny_scan.width())") == "3"
    with pytest.raises(LabError, match=r"gcc -shared [^`]+` ended with exit code 1:\n(.*\n)*.*WIDTH. undeclared"):
        lab.build("tiny_scan.c", output="other/tiny_scan.so")


def test_a_library_of_the_lab_is_found_beside_the_output_and_torch_where_it_lies(lab):
    lab.write("four.c", "int four(void) { return 4; }")
    lab.build("four.c", output="libfour.so")
    lab.write("tiny_scan.c", "int four(void);" + WIDTH.replace("%s", "four()"))
    built = lab.build("tiny_scan.c", links=["four"])
    assert read_extension(built).needed[0] == "libfour.so"
    lab.write("light_scan.cpp", "#include <c10/util/Exception.h>\nvoid f(int n) { TORCH_CHECK(n > 1); }")
    light = read_extension(lab.build("light_scan.cpp", links=["c10"]))
    assert "libc10.so" in light.needed
    assert light.rpath == light.runpath == ()


def test_a_source_of_another_language_is_refused(lab):
    lab.write("tiny.f90", "end")
    with pytest.raises(ValueError, match=r"'.*tiny.f90' ends in '.f90', expected .c, .cpp, .cu"):
        lab.build("tiny.f90")


# What stays behind: nothing


def test_a_lab_is_gone_after_close_with_and_its_last_reference(temporary):
    first, last = Lab(), Lab()
    folders = [first.folder, last.folder]
    with Lab() as second:
        folders.append(second.folder)
        assert all(folder.is_dir() for folder in folders)
    first.close()
    first.close()
    del last
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert repr(second) == "Lab(closed)"


def test_a_closed_lab_makes_no_files(lab, temporary):
    lab.close()
    for use in (lambda: lab / "x", lambda: lab.write("x", ""), lambda: lab.run("true"), lambda: lab.python("1")):
        with pytest.raises(ValueError, match=r"closed.*Lab\(\)"):
            use()
    assert list(temporary.iterdir()) == []


def test_read_only_folders_go_and_what_links_point_to_stays(temporary, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    (outside / "kept").write_text("kept")
    with Lab() as lab:
        lab.write("locked/deep/file", "x")
        (lab / "link").symlink_to(outside)
        (lab / "locked/deep").chmod(0)
        (lab / "locked").chmod(0o500)
    assert list(temporary.iterdir()) == []
    assert (outside / "kept").read_text() == "kept"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750


def test_the_end_of_python_removes_the_lab_and_the_end_of_its_fork_does_not(temporary):
    code = "child = os.fork(); child or sys.exit(); os.waitpid(child, 0); print(lab.folder.exists(), flush=True)"
    child, survived = start(code)
    assert survived == "True"
    assert len(list(temporary.iterdir())) == 1
    end(child)
    assert child.returncode == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("renamed", [False, True])
def test_a_living_lab_is_kept_and_that_of_a_killed_process_is_swept(temporary, renamed):
    """Whatever the process id in the name says: ids are used again, and other containers have ids of their own."""
    child, folder = start("lab.write('file', 'x'); print(lab.folder, flush=True)")
    place = Path(folder).parent
    assert str(child.pid) in place.name
    if renamed:
        place = place.rename(place.with_name(place.name.replace(str(child.pid), "999999999")))
    with Lab():
        assert (place / "lab/file").exists()
    end(child, signal.SIGKILL)
    assert (place / "lab/file").exists()
    if renamed:
        place = place.rename(place.with_name(place.name.replace("999999999", str(os.getpid()))))
    with Lab() as lab:
        assert not place.exists()
        assert list(temporary.iterdir()) == [lab.folder.parent]


def test_labs_that_start_together_do_not_sweep_each_other(temporary):
    faults = []

    def work():
        for number in range(40):
            try:
                with Lab() as lab:
                    lab.write(f"{number}", "x")
            except Exception as fault:
                faults.append(fault)

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert faults == []
    assert list(temporary.iterdir()) == []


def test_a_sweep_touches_nothing_of_others(temporary, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (temporary / "workbook-lab-999999999-link").symlink_to(precious)
    (temporary / "workbook-lab-999999999-file").write_text("no folder")
    (temporary / "other-lab-999999999").mkdir()
    names = {path.name for path in temporary.iterdir()}
    if os.getuid() == 0:
        foreign = temporary / "workbook-lab-999999999-foreign"
        foreign.mkdir()
        os.chown(foreign, 12345, -1)
        names.add(foreign.name)
    Lab().close()
    assert {path.name for path in temporary.iterdir()} == names
    assert precious.is_dir()
    assert list(precious.iterdir()) == []
