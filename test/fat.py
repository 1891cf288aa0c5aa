"""A filesystem that holds as little as vfat does, in memory, over FUSE: for machines whose kernel has no vfat.

Names keep their case, but two that differ in case alone are one; some are refused. There are no owners, permissions,
attributes, links and special files; times are cut to 2 s. Renames exchange and refuse to replace, as vfat's do.
Speaks the kernel's protocol (linux/fuse.h, 7.31) on /dev/fuse itself: no library is needed.
"""
import ctypes
import errno
import os
import stat
import struct
import sys
import time

MAX_WRITE = 128 * 1024
ILLEGAL = b'\\:*?"<>|'
NAME_BYTES_MAX = 120
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
MODE = int(sys.argv[2], 8)  # of everything


class Failed(Exception):
    pass


class Node:
    def __init__(self, number, is_dir):
        self.number, self.is_dir = number, is_dir
        self.content = bytearray()
        self.names = {}  # folded name: (name, node)
        self.mtime = cut(time.time())
        self.ctime = time.time_ns()

    def attr(self):
        mode = (stat.S_IFDIR if self.is_dir else stat.S_IFREG) | MODE
        size = 4096 if self.is_dir else len(self.content)
        seconds, ns = divmod(self.ctime, 10**9)
        links = 2 if self.is_dir else 1
        return struct.pack(
            '<QQQqqqIIIIIIIIII', self.number, size, (size + 511) // 512, self.mtime, self.mtime, seconds,
            0, 0, ns, mode, links, 0, 0, 0, 4096, 0)


def cut(seconds):
    return int(seconds // 2 * 2)


def fold(name):
    try:
        return name.decode().upper().encode()
    except UnicodeDecodeError:
        return name.upper()


class Fat:
    def __init__(self):
        self.nodes = {1: Node(1, True)}

    def entry(self, node):
        return struct.pack('<QQQQII', node.number, 0, 0, 0, 0, 0) + node.attr()

    def lookup(self, at, body):
        return self.entry(self.find(at, body[:-1]))

    def find(self, at, name):
        found = at.names.get(fold(name))
        if found is None:
            raise Failed(errno.ENOENT)
        return found[1]

    def forget(self, at, body):
        return None

    def getattr(self, at, body):
        return struct.pack('<QII', 0, 0, 0) + at.attr()

    def setattr(self, at, body):
        valid, _, _, size, _, _, mtime, _, _, _, _, mode, _, uid, gid, _ = struct.unpack('<IIQQQqqqIIIIIIII', body)
        if valid & 1 and mode & 0o7777 != MODE:
            raise Failed(errno.EPERM)
        if (valid & 2 and uid != 0) or (valid & 4 and gid != 0):
            raise Failed(errno.EPERM)
        if valid & 8:
            at.content = at.content[:size] + bytes(max(0, size - len(at.content)))
            at.mtime = cut(time.time())
        if valid & 256:
            at.mtime = cut(time.time())
        elif valid & 32:
            at.mtime = cut(mtime)
        at.ctime = time.time_ns()
        return self.getattr(at, b'')

    def check(self, name):
        if len(name) > NAME_BYTES_MAX:
            raise Failed(errno.ENAMETOOLONG)
        if any(byte in ILLEGAL or byte < 0x20 for byte in name):
            raise Failed(errno.EINVAL)

    def make(self, at, name, is_dir):
        self.check(name)
        if fold(name) in at.names:
            raise Failed(errno.EEXIST)
        node = Node(max(self.nodes) + 1, is_dir)
        self.nodes[node.number] = node
        at.names[fold(name)] = (name, node)
        self.touch(at)
        return node

    def touch(self, at):
        at.mtime, at.ctime = cut(time.time()), time.time_ns()

    def mknod(self, at, body):
        mode, = struct.unpack_from('<I', body)
        if not stat.S_ISREG(mode):
            raise Failed(errno.EPERM)
        return self.entry(self.make(at, body[16:-1], False))

    def mkdir(self, at, body):
        return self.entry(self.make(at, body[8:-1], True))

    def create(self, at, body):
        return self.entry(self.make(at, body[16:-1], False)) + struct.pack('<QII', 0, 0, 0)

    def unlink(self, at, body):
        self.find(at, body[:-1])
        del at.names[fold(body[:-1])]
        self.touch(at)
        return b''

    def rmdir(self, at, body):
        if self.find(at, body[:-1]).names:
            raise Failed(errno.ENOTEMPTY)
        return self.unlink(at, body)

    def rename(self, at, body):
        return self.move(at, struct.unpack_from('<Q', body)[0], 0, body[8:])

    def rename2(self, at, body):
        to, flags, _ = struct.unpack_from('<QII', body)
        return self.move(at, to, flags, body[16:])

    def move(self, at, to_number, flags, names):
        old, new, _ = names.split(b'\0')
        to = self.nodes[to_number]
        node, there = self.find(at, old), to.names.get(fold(new))
        self.check(new)
        if flags & RENAME_NOREPLACE and there is not None and there[1] is not node:
            raise Failed(errno.EEXIST)
        if flags & RENAME_EXCHANGE:
            other = self.find(to, new)
            at.names[fold(old)] = (at.names[fold(old)][0], other)
            to.names[fold(new)] = (to.names[fold(new)][0], node)
        else:
            del at.names[fold(old)]
            to.names[fold(new)] = (there[0] if there is not None and there[1] is not node else new, node)
        self.touch(at)
        self.touch(to)
        node.ctime = time.time_ns()
        return b''

    def open(self, at, body):
        return struct.pack('<QII', 0, 0, 0)

    def read(self, at, body):
        _, offset, size = struct.unpack_from('<QQI', body)
        return bytes(at.content[offset:offset + size])

    def write(self, at, body):
        _, offset, size = struct.unpack_from('<QQI', body)
        at.content.extend(bytes(max(0, offset - len(at.content))))
        at.content[offset:offset + size] = body[40:40 + size]
        self.touch(at)
        return struct.pack('<II', size, 0)

    def statfs(self, at, body):
        return struct.pack('<QQQQQIIII24x', 1 << 16, 1 << 15, 1 << 15, 0, 0, 4096, NAME_BYTES_MAX, 4096, 0)

    def ok(self, at, body):
        return b''

    def readdir(self, at, body):
        _, offset, size = struct.unpack_from('<QQI', body)
        out = b''
        for index, (name, node) in enumerate(list(at.names.values())):
            if index < offset:
                continue
            kind = 4 if node.is_dir else 8
            one = struct.pack('<QQII', node.number, index + 1, len(name), kind) + name
            one += bytes(-len(one) % 8)
            if len(out) + len(one) > size:
                break
            out += one
        return out

    def refuse(self, at, body):
        raise Failed(errno.EPERM)

    def init(self, at, body):
        return struct.pack('<IIIIHHIIHHI28x', 7, 31, MAX_WRITE, 0, 8, 8, MAX_WRITE, 10**9, 0, 0, 0)

    CALLS = {
        1: lookup, 2: forget, 3: getattr, 4: setattr, 6: refuse, 8: mknod, 9: mkdir, 10: unlink, 11: rmdir, 12: rename,
        13: refuse, 14: open, 15: read, 16: write, 17: statfs, 18: ok, 20: ok, 25: ok, 26: init, 27: open, 28: readdir,
        29: ok, 30: ok, 35: create, 42: forget, 45: rename2,
    }

    def serve(self, fd):
        while True:
            try:
                asked = os.read(fd, MAX_WRITE + 8192)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                raise
            _, opcode, unique, number, _, _, _, _ = struct.unpack_from('<IIQQIIII', asked)
            call = self.CALLS.get(opcode)
            code, answer = errno.ENOSYS, b''
            if call is not None:
                try:
                    code, answer = 0, call(self, self.nodes.get(number), asked[40:])
                except Failed as failed:
                    code, answer = failed.args[0], b''
            if answer is not None:
                os.write(fd, struct.pack('<IiQ', 16 + len(answer), -code, unique) + answer)


def main():
    fd = os.open('/dev/fuse', os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    data = 'fd=%d,rootmode=40%o,user_id=0,group_id=0,default_permissions,allow_other' % (fd, MODE)
    if libc.mount(b'fat', sys.argv[1].encode(), b'fuse.fat', 0, data.encode()) != 0:
        sys.exit('mount: %s' % os.strerror(ctypes.get_errno()))
    print('mounted', flush=True)
    Fat().serve(fd)


main()
