"""What runs in a container of the model: import the app's module from the mounted files, call one Function.

Called as a script, with the path of a JSON file that says which. It sees what the app mounted and nothing else of the
repository, so it imports nothing of this package.
"""

import importlib
import json
import sys
import traceback
from pathlib import Path

from modal import Client, Function
from modal._runtime.task_lifecycle_manager import _TaskLifecycleManager
from modal._serialization import deserialize, deserialize_proto_params, serialize
from modal._utils.async_utils import synchronizer
from modal.exception import ExecutionError


def main(task):
    """Call the Function of a task and write how it ended, and its result or exception, beside it."""
    status, result = "ok", None
    try:
        arguments, options = deserialize(Path(task["arguments"]).read_bytes(), None)
        function = find(task)
        result = getattr(function, "local", function)(*arguments, **options)
    except BaseException as fault:
        status, result = "error", fault
        traceback.print_exc()
    try:
        content = serialize(result)
    except Exception as fault:
        status, content = "error", serialize(RuntimeError(f"the result cannot be pickled: {fault}"))
    Path(task["result"]).write_bytes(status.encode() + b"\0" + content)


def find(task):
    """The Function, or the method of an instance with its parameters."""
    if task["pickled"]:  # a Function of a notebook comes by value, with the Volumes that it names
        found = deserialize(Path(task["pickled"]).read_bytes(), Client.from_env())
    else:
        found = getattr(importlib.import_module(task["module"]), task["function"].split(".")[0])
        check_dependencies(found, task["dependencies"])
    if not task["method"]:
        return getattr(found, "_raw_f_", found)  # the plain function: .local() would warn about volumes
    parameters = bytes.fromhex(task["parameters"])
    return getattr(found(**(deserialize_proto_params(parameters) if parameters else {})), task["method"])


def check_dependencies(function, declared):
    """Raise, as Modal's own container does, where the app declares other objects for a Function here than it did there.

    An image, a Volume or a Secret under an ``if`` that only the reader's machine enters is such a case.
    """
    if isinstance(function, Function):
        here = synchronizer._translate_in(function)._deps_(only_explicit_mounts=True)
        if len(here) != declared:
            raise ExecutionError(f"Function has {len(here)} dependencies but container got {declared} object ids.")


if __name__ == "__main__":
    _TaskLifecycleManager._singleton = object()  # by this alone, `modal.is_local()` knows that it is in a container
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
