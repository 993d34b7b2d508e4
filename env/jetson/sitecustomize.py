"""Names that mamba_ssm imports from torch.distributed, for a torch that was built without it (USE_DISTRIBUTED=0).

Python runs a file of this name when it starts. This one imports nothing of torch: it waits until a program does. A
torch that has its distributed stays as it is. Nothing here computes on several machines; what tries to is told.
"""

import sys
from importlib.machinery import PathFinder

NAMES = ("all_gather_into_tensor", "reduce_scatter_tensor")


def missing(*_, **__):
    raise RuntimeError(
        "this torch was built without distributed, and one process was asked to "
        "speak to others. Run it in one process, or install a torch that has it."
    )


class Fill:
    """Fills the names in as soon as torch.distributed was imported."""

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path) if name == "torch.distributed" else None
        if spec is not None:
            execute = spec.loader.exec_module

            def and_fill(module):
                execute(module)
                if not module.is_available():
                    if not hasattr(module, "ProcessGroup"):
                        module.ProcessGroup = type("ProcessGroup", (), {})
                    for each in NAMES:
                        if not hasattr(module, each):
                            setattr(module, each, missing)

            spec.loader.exec_module = and_fill
        return spec


sys.meta_path.insert(0, Fill())
