"""A random tree: names of random bytes, every type of entry, contents with holes, and the numbers they are dressed with.

Nothing here follows a symbolic link in the tree: every call that could is told not to, or opens with O_NOFOLLOW.
"""

import errno
import os
import stat

from dress import dress, set_times

RESERVED_LOOKING = [
    b".towline-x", b".towline.tmp", b".wh.x", b".wh..wh..opq", b"-rf", b"--", b"b1-0", b"b12-3.new", b"data-old",
    b".~tmp~", b"...", b"a\nb", b"new\n", b" ", b"\t", b"\\", b"*", b"$(x)", b"~", b"\xff", b"\xc3\x28", b"\x01",
    b"metadata.json", b"lost+found", b"A", b"a", b"\xc3\xa9", b"e\xcc\x81", b".git", b"x" * 255, b"\xe2\x82\xac" * 85,
]  # fmt: skip
TARGETS = [b"nowhere", b"/etc/passwd", b"../../..", b".", b"/", b"./x/../y", b"//a//b//", b"\xff\xfe", b"a\nb"]
PATH_BYTES_MAX = 3000  # other programs take paths
DEVICES = [(stat.S_IFCHR, 1, 3), (stat.S_IFCHR, 1, 5), (stat.S_IFCHR, 0, 0), (stat.S_IFBLK, 7, 200)]
DEVICES += [(stat.S_IFBLK, 7, 262_143), (stat.S_IFCHR, 1, 7)]
SIZES = [0, 0, 1, 100, 4_095, 4_096, 4_097, 20_000, 65_536, 65_537, 262_144, 262_145, 700_000]


class Tree:
    def __init__(self, root, rng, kinds):
        self.root = root
        self.rng = rng
        self.kinds = set(kinds.split(","))
        self.done = []  # what a message of a failing test says

    def build(self):
        """60 to 150 entries, some of them hard links; the root gets rights and attributes too."""
        rng = self.rng
        for _ in range(rng.randrange(6, 16)):
            self.make_dir(self.dir())
        for _ in range(rng.randrange(50, 120)):
            self.make(self.dir())
        for _ in range(rng.randrange(4, 12)):
            self.make_link(self.dir())
        for path in self.paths():
            dress(self, path)
        dress(self, self.root)
        for path in reversed(self.paths()):  # children first: what is made in a directory changes its time
            set_times(self, path)
        set_times(self, self.root)

    def paths(self, wanted=lambda mode: True):
        """Everything below the root of a kind, parents first, in an order that is the same on every filesystem."""
        found = []
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                mode = type_of(entry)
                if folder == self.root and entry.name == b".towline":
                    continue
                if wanted(mode):
                    found.append(entry.path)
                if stat.S_ISDIR(mode):
                    waiting.append(entry.path)
        return found

    def of(self, wanted):
        """A random path of a kind, or None."""
        found = self.paths(wanted)
        return self.rng.choice(found) if found else None

    def dir(self):
        """A directory in which something can be made; the root is one of them."""
        found = [path for path in self.paths(stat.S_ISDIR) if len(path) < len(self.root) + PATH_BYTES_MAX - 256]
        return self.rng.choice([self.root, *found])

    def name(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.5:
            return b"%s%d" % (rng.choice([b"file", b"x", b"data-", "Ünïcode".encode()]), rng.randrange(1000))
        if kind < 0.7:
            return rng.choice(RESERVED_LOOKING)
        length = rng.choice([1, 2, 3, 8, 20, 100, 254, 255])
        name = rng.randbytes(length).replace(b"/", b"-").replace(b"\0", b"0")
        return b"dot" if name in (b".", b"..") else name

    def free(self, folder):
        """A path in a folder that is not there yet."""
        while True:
            path = os.path.join(folder, self.name())
            if not os.path.lexists(path):
                return path

    def make(self, folder):
        """Anything but a hard link. @returns its path"""
        rng = self.rng
        kinds = [self.make_file] * 10 + [self.make_symlink] * 3 + [self.make_dir] * 2
        kinds += [self.make_special] * 3 if "specials" in self.kinds else []
        kinds += [self.make_device] * 3 if "devices" in self.kinds else []
        return rng.choice(kinds)(folder)

    def make_file(self, folder, path=None):
        path = path or self.free(folder)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        if self.rng.random() < 0.08 and "holes" in self.kinds:
            self.write_sparse(fd)
        else:
            os.write(fd, self.rng.randbytes(self.rng.choice(SIZES) if self.rng.random() < 0.2 else self.size()))
        os.close(fd)
        return path

    def size(self):
        return self.rng.randrange(3000)

    def write_sparse(self, fd):
        """Up to 8 MiB, of which at most a few pieces are data."""
        size = self.rng.randrange(1, 8 << 20)
        os.ftruncate(fd, size)
        for _ in range(self.rng.randrange(4)):
            data = self.rng.randbytes(self.rng.choice([1, 4096, 20_000]))
            os.pwrite(fd, data, self.rng.randrange(size))

    def make_dir(self, folder, path=None):
        path = path or self.free(folder)
        os.mkdir(path, 0o700)
        return path

    def make_symlink(self, folder, path=None):
        path = path or self.free(folder)
        rng = self.rng
        target = rng.choice([*TARGETS, self.name(), rng.randbytes(rng.randrange(1, 200)).replace(b"\0", b"/")])
        if rng.random() < 0.1:
            target = b"long/" * (rng.choice([204, 819]))  # 1,020 bytes go everywhere, 4,095 on ext4 only
        try:
            os.symlink(target, path)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            os.symlink(target[:1000], path)
        return path

    def make_special(self, folder, path=None):
        path = path or self.free(folder)
        os.mknod(path, self.rng.choice([stat.S_IFIFO, stat.S_IFSOCK]) | 0o600)
        return path

    def make_device(self, folder, path=None):
        path = path or self.free(folder)
        kind, major, minor = self.rng.choice(DEVICES)
        os.mknod(path, kind | 0o600, os.makedev(major, minor))
        return path

    def make_link(self, folder):
        """A further name of anything but a directory. @returns its path"""
        source = self.of(lambda mode: not stat.S_ISDIR(mode))
        if source is None:
            return self.make_file(folder)
        path = self.free(folder)
        os.link(source, path, follow_symlinks=False)
        return path


def type_of(entry):
    """The type of what scandir found, without a further call: as in a mode, or 0 for a special file."""
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFLNK if entry.is_symlink() else 0
