"""Settings of the whole test suite."""

import os

# Two workers on two cores: more threads would only wait for each other. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
