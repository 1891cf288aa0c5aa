"""Edits one path of a target again and again while batches replace it: editor.py HOW PATH SAVED, until stdin ends.

`append`: opens what is there and adds a numbered line, at once or a moment later: it destroys nothing.
`exchange`: puts a numbered file of its own in the path's place, and keeps what was there in the folder SAVED.
Says `ready`, and at the end how many edits it has closed, and how often the path was missing.
"""

import ctypes
import os
import sys
import threading
import time

how, path, saved = sys.argv[1:4]
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_EXCHANGE = 2
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
print("ready", flush=True)

edits = 0
missing = 0
while not over.is_set():
    line = b"edit %d\n" % edits
    if how == "append":
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            missing += 1
            continue
        if edits % 3 == 0:
            time.sleep(0.002)
        os.write(fd, line)
        os.close(fd)
        edits += 1
    else:
        own = os.path.join(saved, "edit-%d" % edits)
        with open(own, "wb") as file:
            file.write(line)
        if libc.renameat2(AT_FDCWD, own.encode(), AT_FDCWD, path.encode(), RENAME_EXCHANGE) != 0:
            os.unlink(own)
            missing += 1
            continue
        edits += 1
    time.sleep(0.0005)
print("%d %d" % (edits, missing), flush=True)
