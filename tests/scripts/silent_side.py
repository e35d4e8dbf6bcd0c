"""A side of a benchmark that says nothing."""

import time

time.sleep(60)
