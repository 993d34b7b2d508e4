"""A model of Modal's control plane on loopback: an app runs end to end with no account, no network and no cost.

It speaks the client's own protocol (the `modal_proto` package inside modal's wheel), records every request, stores the
recipe of each image layer, and runs the called Functions in child processes that see only the files which the app
mounted. It is a model: no image is built, no package installed, nothing rented. The rules that only the service knows
are written down in `helpers.cloud.local.rules`, in our words.

Tested with modal 1.6.4 and Python 3.11. Functions run on Linux only, where a process may make mount namespaces;
elsewhere the model records only, and says so.
"""

from helpers.cloud.local.server import LocalModal

__all__ = ["LocalModal"]
