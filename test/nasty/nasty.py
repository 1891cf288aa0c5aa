"""Builds a random nasty tree below a folder, or changes one, the same for the same seed.

    nasty.py make ROOT SEED KINDS
    nasty.py change ROOT SEED ROUND KINDS COUNT

KINDS is a comma-separated list of what may occur beyond files, directories, symbolic links, hard links, modes, owners
and times: holes, specials, devices, xattrs, acls, capabilities, or - for nothing. A JSON list of what was done is printed.
Needs root. Devices have numbers that do no harm, and nothing is ever opened but regular files.
"""

import json
import os
import sys
from binascii import crc32
from random import Random

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from changes import change  # noqa: E402
from tree import Tree  # noqa: E402


def printable(raw):
    """As the judge shows paths (test/judge/facts.ts): long names by their beginning and their CRC-32."""
    names = []
    for name in raw.split(b"/"):
        shown = "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else "\\x%02x" % byte for byte in name)
        names.append(shown if len(shown) <= 40 else "%s~%08x" % (shown[:16], crc32(name)))
    return "/".join(names)


def main():
    verb, root, seed, *rest = sys.argv[1:]
    os.umask(0)
    if verb == "make":
        tree = Tree(os.fsencode(root), Random("make %s" % seed), rest[0])
        tree.build()
    else:
        round_number, kinds, count = rest
        tree = Tree(os.fsencode(root), Random("change %s %s" % (seed, round_number)), kinds)
        change(tree, int(count))
    print(json.dumps(["%s: %s" % (what, ", ".join(printable(path) for path in paths)) for what, paths in tree.done]))


main()
