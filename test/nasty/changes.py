"""Random changes of a tree: contents in place and anew, names, types, hard links, and everything that dress gives.

Each change is a function of (tree) that returns the paths it is about: none where it has done nothing.
"""

import ctypes
import os
import shutil
import stat

from dress import dress, is_type, remove_acl, remove_xattr, set_acl, set_capability, set_mode, set_owner, set_times
from dress import set_xattr
from tree import PATH_BYTES_MAX

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def change(tree, count):
    links = {}
    for _ in range(count):
        action = tree.rng.choice(CHANGES)
        done = action(tree)
        if done and action in (link, link_instead):
            links[done[-1]] = os.lstat(done[-1]).st_ino
        if done:
            paths = [path[len(tree.root) + 1 :] or b"." for path in done]
            tree.done.append((action.__name__.replace("_", " "), paths))
    tell_of_lost_links(tree, links)


def tell_of_lost_links(tree, links):
    """What was done through a link that is gone again no watch can tell of the names that stay: only the next scan finds it."""
    kept = [os.path.lexists(path) and os.lstat(path).st_ino == ino for path, ino in links.items()]
    lost = {ino for ino, is_kept in zip(links.values(), kept) if not is_kept}
    for path in tree.paths(not_dir):
        found = os.lstat(path)
        if found.st_ino in lost:
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def anything(_mode):
    return True


def not_dir(mode):
    return not stat.S_ISDIR(mode)


def on(wanted):
    """A change of one random path of a kind, which it returns unless it says other paths."""

    def wrap(action):
        def run(tree):
            path = tree.of(wanted)
            if path is None:
                return []
            done = action(tree, path)
            return [path] if done is None else done

        run.__name__ = action.__name__
        return run

    return wrap


def opened(path):
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW)


@on(stat.S_ISREG)
def edit_in_place(tree, path):
    fd = opened(path)
    size = os.fstat(fd).st_size
    for _ in range(tree.rng.randrange(1, 4)):
        os.pwrite(fd, tree.rng.randbytes(tree.rng.randrange(1, 5_000)), tree.rng.randrange(size + 1))
    os.close(fd)


@on(stat.S_ISREG)
def edit_and_put_times_back(tree, path):
    found = os.lstat(path)
    if found.st_size == 0:
        return []
    fd = opened(path)
    os.pwrite(fd, tree.rng.randbytes(1), tree.rng.randrange(found.st_size))
    os.close(fd)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@on(stat.S_ISREG)
def append(tree, path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    os.write(fd, tree.rng.randbytes(tree.rng.choice([1, 100, 70_000])))
    os.close(fd)


@on(stat.S_ISREG)
def truncate(tree, path):
    fd = opened(path)
    size = os.fstat(fd).st_size
    sizes = [0, min(1, size), size // 2] + ([size + 3_000_000] if "holes" in tree.kinds else [])
    os.ftruncate(fd, tree.rng.choice(sizes))
    os.close(fd)


@on(stat.S_ISREG)
def punch(tree, path):
    """A hole, or zeros that are kept as such; the size stays."""
    if "holes" not in tree.kinds:
        return []
    fd = opened(path)
    size = os.fstat(fd).st_size
    mode = tree.rng.choice([PUNCH_HOLE, PUNCH_HOLE, ZERO_RANGE]) | KEEP_SIZE
    start = tree.rng.randrange(size + 1)
    length = tree.rng.choice([1, 4_096, 300_000, 1 << 23])
    if LIBC.fallocate(fd, mode, ctypes.c_long(start), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")
    os.close(fd)


@on(stat.S_ISREG)
def write_anew(tree, path):
    """As an editor saves: a file beside it that takes its name."""
    new = tree.make_file(os.path.dirname(path))
    if tree.rng.random() < 0.5:
        dress(tree, new)
    os.rename(new, path)


@on(not_dir)
def rename(tree, path):
    new = tree.free(tree.dir())
    os.rename(path, new)
    return [path, new]


@on(not_dir)
def rename_over(tree, path):
    other = tree.of(not_dir)
    os.rename(path, other)  # two names of one file: nothing happens, both stay
    return [path, other]


@on(stat.S_ISDIR)
def rename_dir(tree, path):
    folder = tree.dir()
    if is_below(folder, path):
        return []
    new = tree.free(folder)
    if not fits(tree, path, new):
        return []
    os.rename(path, new)
    return [path, new]


@on(anything)
def exchange(tree, path):
    """Any two things swap their names, in one step."""
    other = tree.of(anything)
    if is_below(path, other) or is_below(other, path) or not (fits(tree, path, other) and fits(tree, other, path)):
        return []
    if LIBC.renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")
    return [path, other]


@on(anything)
def another_type(tree, path):
    """It goes, and something else has its name."""
    if is_large(tree, path):
        return []
    remove(path)
    makers = [tree.make_file, tree.make_symlink, tree.make_dir]
    makers += [tree.make_special] if "specials" in tree.kinds else []
    makers += [tree.make_device] if "devices" in tree.kinds else []
    tree.rng.choice(makers)(os.path.dirname(path), path)
    if tree.rng.random() < 0.7:
        dress(tree, path)
    if is_type(path, stat.S_ISDIR):
        for _ in range(tree.rng.randrange(3)):
            dress(tree, tree.make(path))


def make(tree):
    path = tree.make(tree.dir())
    if tree.rng.random() < 0.5:
        dress(tree, path)
    return [path]


def link(tree):
    return [tree.make_link(tree.dir())]


@on(not_dir)
def link_instead(tree, path):
    """A name becomes a further one of another entry."""
    other = tree.of(not_dir)
    if os.path.samestat(os.lstat(path), os.lstat(other)):
        return []
    os.unlink(path)
    os.link(other, path, follow_symlinks=False)
    return [other, path]


def break_link(tree):
    """One name of a group becomes a file of its own, with the same content."""
    linked = [path for path in tree.paths(stat.S_ISREG) if os.lstat(path).st_nlink > 1]
    if not linked:
        return []
    path = tree.rng.choice(linked)
    copy = tree.free(os.path.dirname(path))
    shutil.copyfile(path, copy, follow_symlinks=False)
    os.rename(copy, path)
    return [path]


@on(not_dir)
def delete(_tree, path):
    os.unlink(path)


@on(stat.S_ISDIR)
def delete_dir(tree, path):
    if is_large(tree, path):
        return []
    remove(path)
    return [path]


@on(stat.S_ISDIR)
def give_default_acl_and_fill(tree, path):
    """What is made in a directory with a default ACL inherits it, and may lose it again."""
    set_acl(tree, path)
    for _ in range(2):
        made = tree.make(path)
        if tree.rng.random() < 0.5:
            remove_acl(tree, made)


def rights(setter, name):
    def run(tree):
        path = tree.rng.choice([tree.root, *tree.paths()])
        setter(tree, path)
        return [path]

    run.__name__ = name
    return run


@on(stat.S_ISREG)
def cap_a_file(tree, path):
    set_capability(tree, path)


def is_large(tree, path):
    """Whether it is a directory that is to stay, so that something is left to be changed; a few may go all the same."""
    return sum(is_below(found, path) for found in tree.paths()) > 10 and tree.rng.random() < 0.9


def is_below(path, folder):
    return (path + b"/").startswith(folder + b"/")


def fits(tree, path, new):
    """Whether what is below a path stays short enough for programs that take paths."""
    longest = max((len(found) for found in tree.paths() if is_below(found, path)), default=0)
    return longest - len(path) + len(new) < len(tree.root) + PATH_BYTES_MAX


def remove(path):
    if is_type(path, stat.S_ISDIR):
        shutil.rmtree(path)
    else:
        os.unlink(path)


CHANGES = [
    *([edit_in_place] * 3 + [edit_and_put_times_back, append, truncate, write_anew]),
    *([punch, rename_over, another_type, link_instead, break_link, exchange, give_default_acl_and_fill] * 2),
    *([rename, delete, make, make, link] * 2 + [rename_dir] * 3 + [delete_dir]),
    *[rights(set_owner, "chown"), rights(set_mode, "chmod"), rights(set_times, "touch"), rights(dress, "dress")],
    *([rights(set_xattr, "set_an_attribute"), rights(remove_xattr, "remove_an_attribute")] * 2),
    *[rights(set_acl, "set_an_acl"), rights(remove_acl, "remove_the_acl"), cap_a_file],
]
