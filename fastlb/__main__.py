# SPDX-License-Identifier: Apache-2.0
"""`python -m fastlb`: the same as the command `fastlb`."""

import sys

from fastlb.cli import main

if __name__ == "__main__":
    sys.exit(main())
