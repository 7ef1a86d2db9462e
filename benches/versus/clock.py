"""`python clock.py PROGRAM…`: runs a program, and prints its seconds and the peak of its memory in MiB as the last line of
standard error. What the program waited for counts as well. Ends as the program did.

A process of its own, because the peak of a program begins with that of whoever started it: here some 14 MiB, and none is told
as less.
"""

import os
import subprocess
import sys
import time

begun = time.monotonic()
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
print(f"\n{time.monotonic() - begun} {usage.ru_maxrss / 1024}", file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
