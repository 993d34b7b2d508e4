"""Entry of `python -m helpers.environment`: nothing but the call, so that the command can be imported and tested."""

import sys

from helpers.environment.command import main

sys.exit(main())
