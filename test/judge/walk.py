"""Walks trees on descriptors and prints what it found as JSON: one object a root, from path to facts.

Every name is opened relative to the descriptor of its directory, never through a symbolic link, so that paths may be
longer than PATH_MAX and names any bytes (in the JSON each byte is the character of that number). Special files are
never opened. Usage: walk.py ROOT...
"""

import errno
import hashlib
import json
import os
import resource
import stat
import sys

CHUNK = 1 << 16
ZEROS = bytes(CHUNK)
TYPES = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}


def text(raw):
    return raw.decode("latin-1")


def data_pieces(fd, status):
    """The ranges (start, end) of a file that are no holes."""
    if status.st_blocks * 512 < status.st_size:
        # What is allocated but not written counts as a hole only once it is on the disk and out of memory.
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    pieces = []
    end = 0
    while end < status.st_size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        pieces.append((start, end))
    return pieces


def content(fd, status):
    """What is in a file: a SHA-256 over what is not zeros, each chunk with its place, so that holes are not read."""
    pieces = data_pieces(fd, status)  # all of them first: reading brings more of the file into memory
    digest = hashlib.sha256(str(status.st_size).encode())
    done = 0  # everything below has been read
    for start, end in pieces:
        offset = max(done, start - start % CHUNK)
        while offset < end:
            chunk = os.pread(fd, CHUNK, offset)
            if chunk != ZEROS[: len(chunk)]:
                digest.update(b"%d:" % offset + chunk)
            offset += CHUNK
        done = offset
    return {
        "content": digest.hexdigest(),
        "data": sum(end - start for start, end in pieces),
        "pieces": len(pieces),
        "allocated": os.fstat(fd).st_blocks * 512,
    }


def facts(path, found):
    """`path` is short: a name below a descriptor in /proc, or the descriptor itself."""
    entry = {
        "type": TYPES[stat.S_IFMT(found.st_mode)],
        "mode": "%o" % stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mtime": str(found.st_mtime_ns),
        "inode": "%d:%d" % (found.st_dev, found.st_ino),
    }
    if entry["type"] != "d":
        entry["links"] = found.st_nlink
        entry["size"] = found.st_size
    if entry["type"] in "bc":
        entry["device"] = "%d:%d" % (os.major(found.st_rdev), os.minor(found.st_rdev))
    follow = isinstance(path, int)
    for name in sorted(os.listxattr(path, follow_symlinks=follow)):
        value = os.getxattr(path, name, follow_symlinks=follow)
        entry["xattr " + text(os.fsencode(name))] = value.hex()
    return entry


def walk(fd, prefix, found):
    """Adds everything below a directory; `prefix` is its path with a slash, empty for the root."""
    for name in sorted(os.listdir(fd)):  # names as text, bytes that are not UTF-8 as surrogates
        raw = os.fsencode(name)
        path = prefix + raw
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        entry = facts(b"/proc/self/fd/%d/%s" % (fd, raw), status)
        found[text(path)] = entry
        if entry["type"] == "l":
            entry["link"] = text(os.fsencode(os.readlink(name, dir_fd=fd)))
        elif entry["type"] == "f":
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=fd)
            entry.update(content(file, status))
            os.close(file)
        elif entry["type"] == "d":
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            walk(below, path + b"/", found)
            os.close(below)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one descriptor a level
    sys.setrecursionlimit(100_000)
    for root in sys.argv[1:]:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        found = {"": facts(fd, os.fstat(fd))}
        walk(fd, b"", found)
        os.close(fd)
        print(json.dumps(found))


main()
