"""What an entry has beside its name and content: rights, owner, attributes, ACLs, capabilities, times.

What the filesystem refuses for its size (no room for an attribute, a time out of its range) is left as it was.
"""

import errno
import os
import stat
import struct

UNDEFINED = 0xFFFFFFFF
IDS = [0, 1, 33, 1000, 65_534, 65_535, 70_000, 2_000_000_000, 4_294_967_294]
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
# Seconds: 1901, just before and after 1970, 2038 and beyond 2106; ns are added.
SECONDS = [-(2**31), -1, 0, 1, 2**31 - 1, 2**31, 2**32, 2**32 + 5, 1_700_000_000]
NANOSECONDS = [0, 1, 999_999_999, 500_000_000, 123_456_789, 1_000, 1_000_000]
ALL_BYTES_MAX = 100_000  # of all attributes of an entry, on XFS; ext4 has room for less
ROOT_BYTES_MAX = 3_000  # of the root's: the mark of a target has its place beside them
CAPABILITIES_V2, CAPABILITIES_V3, EFFECTIVE = 0x02000000, 0x03000000, 1


def dress(tree, path):
    """Random rights, owner and attributes; each with some chance, the owner first as chown clears the others."""
    rng = tree.rng
    set_owner(tree, path)
    set_mode(tree, path)
    for setter, chance in ((set_xattr, 0.3), (set_xattr, 0.2), (set_capability, 0.15), (set_acl, 0.2)):
        if rng.random() < chance:
            setter(tree, path)


def set_owner(tree, path):
    os.lchown(path, tree.rng.choice(IDS), tree.rng.choice(IDS))


def set_mode(tree, path):
    if not is_type(path, stat.S_ISLNK):
        os.chmod(path, tree.rng.randrange(0o10000) if tree.rng.random() < 0.7 else tree.rng.choice([0, 0o7777, 0o400]))


def set_times(tree, path):
    rng = tree.rng
    seconds = rng.choice(SECONDS) if rng.random() < 0.4 else rng.randrange(1_700_000_000)
    modified = seconds * 1_000_000_000 + (rng.choice(NANOSECONDS) if rng.random() < 0.4 else rng.randrange(10**9))
    os.utime(path, ns=(1_000_000_000, modified), follow_symlinks=False)


def set_xattr(tree, path):
    """Of `user.` where the type can have it, else of `trusted.`; values empty, binary, or as large as there is room."""
    if "xattrs" not in tree.kinds:
        return
    rng = tree.rng
    can_be_user = is_type(path, stat.S_ISREG) or is_type(path, stat.S_ISDIR)
    space = b"user." if can_be_user and rng.random() < 0.6 else b"trusted."
    names = [b"x", b"towline", b"towline-x", b"a.b", b"overlay.opaque", b"\xff\x01", "ключ".encode(), b"n" * 240, b"a=b\n"]
    value = rng.randbytes(rng.choice([0, 0, 1, 10, 100, 100, 300, 1_500, 3_800, 4_040, 65_536]))
    set_attribute(path, space + rng.choice(names), value[:ROOT_BYTES_MAX] if path == tree.root else value)


def remove_xattr(tree, path):
    """Any attribute goes: also a capability or an ACL. The mark of a root stays."""
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("trusted.towline.")]
    if names:
        os.removexattr(path, tree.rng.choice(sorted(names)), follow_symlinks=False)


def set_capability(tree, path):
    if "capabilities" not in tree.kinds or not is_type(path, stat.S_ISREG):
        return
    rng = tree.rng
    permitted, inheritable = rng.getrandbits(32), rng.getrandbits(32) if rng.random() < 0.3 else 0
    flags = EFFECTIVE if rng.random() < 0.5 else 0
    sets = struct.pack("<IIII", permitted, inheritable, rng.getrandbits(9), 0)
    value = struct.pack("<I", CAPABILITIES_V2 | flags) + sets
    if rng.random() < 0.2:  # with the id of the root of a user namespace
        value = struct.pack("<I", CAPABILITIES_V3 | flags) + sets + struct.pack("<I", 100_000)
    set_attribute(path, b"security.capability", value)


def set_acl(tree, path):
    if "acls" not in tree.kinds or is_type(path, stat.S_ISLNK):
        return
    if is_type(path, stat.S_ISDIR) and tree.rng.random() < 0.6:
        set_attribute(path, b"system.posix_acl_default", acl(tree.rng))
    else:
        set_attribute(path, b"system.posix_acl_access", acl(tree.rng))


def remove_acl(tree, path):
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith("system.posix_acl_"):
            os.removexattr(path, name, follow_symlinks=False)


def acl(rng):
    """The value of the attribute: a version, then (tag, rights, id) in the order of the tags. Source: acl(5), linux."""
    users = sorted(rng.sample(IDS, rng.choice([0, 0, 1, 2, 5])))
    groups = sorted(rng.sample(IDS, rng.choice([0, 0, 1, 3])))
    entries = [(USER_OBJ, UNDEFINED), *((USER, number) for number in users)]
    entries += [(GROUP_OBJ, UNDEFINED), *((GROUP, number) for number in groups)]
    entries += [(MASK, UNDEFINED)] if users or groups or rng.random() < 0.3 else []
    entries += [(OTHER, UNDEFINED)]
    packed = b"".join(struct.pack("<HHI", tag, rng.randrange(8), number) for tag, number in entries)
    return struct.pack("<I", 2) + packed


def set_attribute(path, name, value):
    others = os.listxattr(path, follow_symlinks=False)
    if sum(len(os.getxattr(path, other, follow_symlinks=False)) for other in others) + len(value) > ALL_BYTES_MAX:
        return
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.E2BIG, errno.ERANGE):
            raise


def is_type(path, test):
    return test(os.lstat(path).st_mode)
