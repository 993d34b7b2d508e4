"""The patch of one source file of mamba_ssm, as a function of its bytes, and the way back.

The places are found by parsing, so that lines may have moved; what is found has to be what 2.2.2 and 2.2.4 hold, call
by call, or the file is refused. No file is read or written here.
"""

from __future__ import annotations

import ast

__all__ = ["FILES", "UnknownSource", "original", "patched", "recognized", "state"]

# Of mamba_ssm 2.2.2 and 2.2.4: each file, and the autograd function in it that calls the C++ functions by position.
FILES = {
    "ops/selective_scan_interface.py": "MambaInnerFn",
    "ops/triton/ssd_combined.py": "MambaSplitConv1dScanCombinedFn",
}
COMPILED = "causal_conv1d_cuda"
ARGUMENTS = {"causal_conv1d_fwd": 7, "causal_conv1d_bwd": 10}
CALLS = [
    ("forward", "causal_conv1d_fwd"),
    ("backward", "causal_conv1d_fwd"),  # computes the convolution again, which spares keeping it
    ("backward", "causal_conv1d_bwd"),
]
OURS = {name: f"_workbook_{name}" for name in ARGUMENTS}
KNOWN = "the file of mamba-ssm 2.2.2 or 2.2.4"
RESTORE = "`workbook patch jetson --check` says how to go on."
BEGIN = "# --- workbook patch jetson: begin. To undo it: workbook patch jetson --revert"
END = "# --- workbook patch jetson: end"
# The forward goes through the Python function, as field note D has it; its arguments are the same in every release. The
# backward goes where mamba_ssm 2.2.5 takes it, or where there is no such file, to the old C++ function.
BLOCK = f"""\
{BEGIN}
try:
    from causal_conv1d import cpp_functions as _workbook_functions
except ImportError:
    _workbook_functions = None


def {OURS["causal_conv1d_fwd"]}(x, weight, bias, seq_idx, start, end, silu):
    return causal_conv1d_fn(
        x, weight, bias, seq_idx=seq_idx, initial_states=start,
        final_states_out=end, activation="silu" if silu else None,
    )


def {OURS["causal_conv1d_bwd"]}(*given):
    if _workbook_functions is None:
        return causal_conv1d_cuda.causal_conv1d_bwd(*given)
    return _workbook_functions.causal_conv1d_bwd_function(*given)
{END}
"""


class UnknownSource(Exception):
    """A file that is not as 2.2.2 or 2.2.4 have it, nor as this patch leaves it.

    Attributes
    ----------
    found : str
        The file, and what in it is not expected.
    by_hand : bool
        Whether it has the calls of field note D's patch.
    """

    def __init__(self, found: str, expected: str, by_hand: bool = False):
        super().__init__(f"{found}, expected {expected}. It was left as it is. {RESTORE}")
        self.found, self.by_hand = found, by_hand


def state(source: bytes, name: str) -> str:
    """Tell what a file is: `original`, `patched`, `by hand` (the calls of field note D's patch), or `unknown`.

    Parameters
    ----------
    source : bytes
    name : str
        A key of `FILES`.
    """
    return recognized(source, name)[0]


def recognized(source: bytes, name: str) -> tuple[str, str]:
    """Tell what a file is, as `state` does, and what in it is not expected; parameters as there.

    Returns
    -------
    kind, found : str
        The second is empty for an `original` and a `patched` file.
    """
    marked = _is_marked(source)
    try:
        (original if marked else patched)(source, name)
    except UnknownSource as error:
        return "by hand" if error.by_hand else "unknown", error.found
    return "patched" if marked else "original", ""


def patched(source: bytes, name: str) -> bytes:
    """Return the file with the patch; of a file that has it, its own bytes.

    Parameters
    ----------
    source : bytes
    name : str
        A key of `FILES`.

    Raises
    ------
    UnknownSource
        Where a call, an import or a use of `causal_conv1d_cuda` is not as 2.2.2 and 2.2.4 have it.
    """
    if BEGIN.encode() in source:
        original(source, name)  # or refuses
        return source
    tree, lines = _parsed(source, name)
    calls = _known_calls(tree, name)
    imports = _known_import(tree, name)
    _no_other_use(tree, calls, imports, name)
    spans = [(*_span(call.func, lines), OURS[call.func.attr].encode()) for call in calls]
    end = sum(map(len, lines[: imports.end_lineno]))
    if not lines[imports.end_lineno - 1].endswith(b"\n"):
        raise _unknown(name, "it ends with the import")
    newline = b"\r\n" if lines[imports.end_lineno - 1].endswith(b"\r\n") else b"\n"
    spans.append((end, end, BLOCK.encode().replace(b"\n", newline)))
    for start, stop, text in spans:
        if start != stop and source[start:stop] != f"{COMPILED}.{text.decode().removeprefix('_workbook_')}".encode():
            raise _unknown(name, "a call is written in a way that is not expected")
    return _replaced(source, spans)


def original(source: bytes, name: str) -> bytes:
    """Return the file without the patch, byte for byte as it was; of any file without its marks, its own bytes.

    Parameters
    ----------
    source : bytes
    name : str
        A key of `FILES`.

    Raises
    ------
    UnknownSource
        Where the patched file was changed since.
    """
    if not _is_marked(source):
        return source
    changed = UnknownSource(f"{name} was changed after it was patched", "it as the patch left it")
    for newline in (b"\n", b"\r\n"):
        block = BLOCK.encode().replace(b"\n", newline)
        if source.count(block) == 1:
            break
    else:
        raise changed
    start = source.index(block)
    tree, lines = _parsed(source, name)
    spans = [(start, start + len(block), b"")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OURS.values():
            there = f"{COMPILED}.{node.func.id.removeprefix('_workbook_')}"
            spans.append((*_span(node.func, lines), there.encode()))
    found = _replaced(source, spans)
    try:
        whole = patched(found, name) == source
    except UnknownSource:
        whole = False
    if not whole:
        raise changed
    return found


def _is_marked(source: bytes) -> bool:
    return BEGIN.encode() in source or END.encode() in source


def _parsed(source: bytes, name: str) -> tuple[ast.Module, list[bytes]]:
    try:
        return ast.parse(source), source.splitlines(keepends=True)
    except (SyntaxError, ValueError) as error:
        raise _unknown(name, "it is no Python source") from error


def _known_calls(tree: ast.Module, name: str) -> list[ast.Call]:
    """The three calls of the C++ functions, where they are those that are known."""
    owner = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == FILES[name]), None)
    methods = [node for node in owner.body if isinstance(node, ast.FunctionDef)] if owner else []
    found, calls = [], []
    for method in methods:
        inside = [node for node in ast.walk(method) if isinstance(node, ast.Call)]
        if any(isinstance(call.func, ast.Name) and call.func.id == "causal_conv1d_fn" for call in inside):
            raise UnknownSource(
                f"{name}, line {method.lineno}: {FILES[name]}.{method.name} calls causal_conv1d_fn: patched by hand, "
                "as field note D does",
                KNOWN,
                by_hand=True,
            )
        mine = sorted((call for call in inside if _is_compiled(call.func)), key=lambda call: call.lineno)
        found += [(method.name, call.func.attr) for call in mine]
        calls += mine
    if found != CALLS:
        raise _unknown(name, f"{FILES[name]} calls {', '.join(call for _, call in found) or 'no C++ function'}")
    for call in calls:
        wanted = ARGUMENTS[call.func.attr]
        if call.keywords or any(isinstance(item, ast.Starred) for item in call.args) or len(call.args) != wanted:
            raise _unknown(name, f"line {call.lineno} passes {len(call.args)} arguments")
    return calls


def _known_import(tree: ast.Module, name: str) -> ast.Try:
    """The `try` that imports both halves of causal_conv1d."""
    for node in tree.body:
        if isinstance(node, ast.Try):
            names = {
                alias.name
                for item in node.body
                if isinstance(item, (ast.Import, ast.ImportFrom))
                for alias in item.names
            }
            if names == {"causal_conv1d_fn", COMPILED}:
                return node
    raise _unknown(name, "its import of causal_conv1d is another")


def _no_other_use(tree: ast.Module, calls: list[ast.Call], imports: ast.Try, name: str) -> None:
    """Beside the calls only `assert causal_conv1d_cuda is not None` may look at the compiled module."""
    known = {call.func.value for call in calls}
    known |= {node for item in ast.walk(tree) if isinstance(item, ast.Assert) for node in ast.walk(item.test)}
    known |= set(ast.walk(imports))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and ((node.id == COMPILED and node not in known) or node.id in OURS.values()):
            raise _unknown(name, f"line {node.lineno} uses {node.id}")


def _is_compiled(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == COMPILED
    )


def _span(node: ast.expr, lines: list[bytes]) -> tuple[int, int]:
    """First byte of a node, and the one behind it; ast counts columns in bytes of UTF-8."""
    first, last = (sum(map(len, lines[: line - 1])) for line in (node.lineno, node.end_lineno))
    return first + node.col_offset, last + node.end_col_offset


def _replaced(source: bytes, spans: list[tuple[int, int, bytes]]) -> bytes:
    for start, stop, text in sorted(spans, reverse=True):
        source = source[:start] + text + source[stop:]
    return source


def _unknown(name: str, found: str) -> UnknownSource:
    return UnknownSource(f"{name}: {found}", KNOWN)
