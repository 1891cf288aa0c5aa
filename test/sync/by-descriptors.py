"""Changes and lists trees whose paths are longer than PATH_MAX: one name at a time, relative to the descriptor of the
directory before. Arguments: a root, then a JSON list of operations. What `walk` finds is printed, an entry a line."""

import hashlib
import json
import os
import sys

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def open_parent(root, path):
    *above, name = path.split("/")
    fd = os.open(root, DIRECTORY)
    for part in above:
        next_fd = os.open(part, DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = next_fd
    return fd, name


def make_dirs(root, path):
    fd = os.open(root, DIRECTORY)
    for part in path.split("/"):
        try:
            os.mkdir(part, 0o755, dir_fd=fd)
        except FileExistsError:
            pass
        next_fd = os.open(part, DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = next_fd
    os.close(fd)


def write(root, path, text, repeat=1):
    fd, name = open_parent(root, path)
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=fd)
    with os.fdopen(file, "wb") as stream:
        stream.write(text.encode() * repeat)
    os.close(fd)


def rename(root, path, to):
    (from_fd, name), (to_fd, new_name) = open_parent(root, path), open_parent(root, to)
    os.rename(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    os.close(from_fd)
    os.close(to_fd)


def link(root, path, to):
    (from_fd, name), (to_fd, new_name) = open_parent(root, path), open_parent(root, to)
    os.link(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
    os.close(from_fd)
    os.close(to_fd)


def symlink(root, path, target):
    fd, name = open_parent(root, path)
    os.symlink(target, name, dir_fd=fd)
    os.close(fd)


def unlink(root, path):
    fd, name = open_parent(root, path)
    os.unlink(name, dir_fd=fd)
    os.close(fd)


def set_meta(root, path, mode, mtime_ns):
    fd, name = open_parent(root, path)
    os.chmod(name, mode, dir_fd=fd)
    os.utime(name, ns=(int(mtime_ns), int(mtime_ns)), dir_fd=fd, follow_symlinks=False)
    os.close(fd)


def content_of(fd, name, kind):
    if kind == 0o120000:
        return os.fsdecode(os.readlink(name, dir_fd=fd))
    if kind != 0o100000:
        return ""
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def walk(fd, path, names):
    for name in sorted(os.listdir(fd)):
        if path == "" and name == ".towline":
            continue
        stat = os.stat(name, dir_fd=fd, follow_symlinks=False)
        kind = stat.st_mode & 0o170000
        at = f"{path}/{name}" if path else name
        same = names.setdefault(stat.st_ino, at) if kind != 0o040000 else at
        size = stat.st_size if kind != 0o040000 else 0
        print(oct(stat.st_mode), stat.st_uid, stat.st_gid, stat.st_mtime_ns, size, content_of(fd, name, kind), at, same == at or f"is {same}")
        if kind == 0o040000:
            below = os.open(name, DIRECTORY, dir_fd=fd)
            walk(below, at, names)
            os.close(below)


def main():
    sys.setrecursionlimit(10_000)
    root = sys.argv[1]
    for operation, *args in json.loads(sys.argv[2]):
        if operation == "walk":
            fd = os.open(root, DIRECTORY)
            walk(fd, "", {})
            os.close(fd)
        else:
            OPERATIONS[operation](root, *args)


OPERATIONS = {
    "makeDirs": make_dirs,
    "write": write,
    "rename": rename,
    "link": link,
    "symlink": symlink,
    "unlink": unlink,
    "setMeta": set_meta,
}
main()
