/**
 * Differences to plant, one for each kind of metadata: a shell script that makes something in an empty folder (all times
 * are set afterwards), one that changes it in the copy and nothing else, and who has to see it.
 */
import type {Kind} from './judge.ts';

type Program = 'walk' | 'find' | 'stat' | 'getfattr' | 'getfacl' | 'getcap' | 'rsync';

export interface Plant {
  what: string;
  make: string;
  plant: string;
  /** Every program that sees it, and no other. */
  by: Program[];
  says: RegExp;
  /** What it belongs to, where a view may leave it out. */
  kind?: Kind;
}

const KEEP_TIME = 'touch -hd @1600000000.123456789 *';

const CONTENTS: Plant[] = [
  {
    what: 'another content of the same size and time',
    make: 'echo abc > f',
    plant: `echo abd > f; ${KEEP_TIME}`,
    by: ['walk', 'rsync'],
    says: /f: content is .*\n(.*\n)*rsync: >fc/,
  },
  {
    what: 'a longer file',
    make: 'echo abc > f',
    plant: `echo >> f; ${KEEP_TIME}`,
    by: ['walk', 'find', 'rsync'],
    says: /size is '4', on the target '5'/,
  },
  {
    what: 'a file where a directory was',
    make: 'mkdir d',
    plant: `rmdir d; touch d; chmod 755 d; ${KEEP_TIME}`,
    by: ['walk', 'find', 'rsync'],
    says: /type is 'd', on the target 'f'/,
  },
  {
    what: 'another target of a symbolic link',
    make: "ln -s $'a\\nb' l",
    plant: `ln -sfn $'a\\nc' l; ${KEEP_TIME}`,
    by: ['walk', 'find', 'rsync'],
    says: /link is 'a\\x0ab', on the target 'a\\x0ac'/,
  },
  {
    what: 'a missing name with a newline',
    make: "touch $'a\\nb'",
    plant: "rm $'a\\nb'",
    by: ['walk', 'find', 'rsync'],
    says: /a\\x0ab: is missing on the target/,
  },
  {
    what: 'a further name that is no UTF-8',
    make: 'touch f',
    plant: "mkdir $'\\xff\\xc3('",
    by: ['walk', 'find', 'rsync'],
    says: /\\xff\\xc3\(: is on the target only/,
  },
  {
    what: 'another normal form of a name',
    make: "touch $'\\xc3\\xa9'",
    plant: "mv $'\\xc3\\xa9' $'e\\xcc\\x81'",
    by: ['walk', 'find', 'rsync'],
    says: /\\xc3\\xa9: is missing on the target/,
  },
  {
    what: 'a hole that was filled',
    make: 'truncate -s 1M f; echo abc >> f',
    plant: `cat f > g; cat g > f; rm g; ${KEEP_TIME}`,
    by: ['walk'],
    says: /holes are filled: data of \d+ bytes, on the target 10\d{5}/,
    kind: 'holes',
  },
];

const RIGHTS: Plant[] = [
  {
    what: 'a mode without setuid',
    make: 'touch f; chmod 4755 f',
    plant: 'chmod 755 f',
    by: ['walk', 'find', 'rsync'],
    says: /mode is '4755', on the target '755'/,
  },
  {
    what: 'another mode of a directory',
    make: 'mkdir d; chmod 2755 d',
    plant: 'chmod 755 d; chmod g-s d',
    by: ['walk', 'find', 'rsync'],
    says: /mode is '2755', on the target '755'/,
  },
  {
    what: 'another mode of a FIFO',
    make: 'mkfifo -m 600 p',
    plant: 'chmod 640 p',
    by: ['walk', 'find', 'rsync'],
    says: /mode is '600', on the target '640'/,
    kind: 'specials',
  },
  {
    what: 'another owner of a file',
    make: 'touch f; chown 70000 f',
    plant: 'chown 70001 f',
    by: ['walk', 'find', 'rsync'],
    says: /uid is '70000', on the target '70001'/,
    kind: 'owners',
  },
  {
    what: 'another group of a symbolic link',
    make: 'ln -s x l; chown -h 0:70000 l',
    plant: 'chown -h 0:1 l',
    by: ['walk', 'find', 'rsync'],
    says: /gid is '70000', on the target '1'/,
    kind: 'owners',
  },
  ...['touch', 'mkdir', 'ln -s x'].map((make): Plant => ({
    what: `a time of what \`${make}\` makes that is 1 ns later`,
    make: `${make} x`,
    plant: 'touch -hd @1600000000.123456790 x',
    by: ['walk', 'find', 'rsync'],
    says: /mtime is '1600000000123456789', on the target '1600000000123456790'/,
    kind: 'times',
  })),
];

const ATTRIBUTES: Plant[] = [
  {
    what: 'another value of an attribute',
    make: 'touch f; setfattr -n user.a -v 0x0001ff f',
    plant: 'setfattr -n user.a -v 0x0001fe f',
    by: ['walk', 'getfattr', 'rsync'],
    says: /user\.a is '0001ff', on the target '0001fe'/,
    kind: 'xattrs',
  },
  {
    what: 'an empty attribute of a directory that is gone',
    make: 'mkdir d; setfattr -n user.a d',
    plant: 'setfattr -x user.a d',
    by: ['walk', 'getfattr', 'rsync'],
    says: /user\.a is '', on the target absent/,
    kind: 'xattrs',
  },
  {
    what: 'a further attribute with a newline in its name',
    make: 'touch f',
    plant: "setfattr -n $'user.a\\nb=c' -v x f",
    by: ['walk', 'getfattr', 'rsync'],
    says: /user\.a\\x0ab=c is absent, on the target '78'/,
    kind: 'xattrs',
  },
  {
    what: 'another attribute of a symbolic link',
    make: 'ln -s x l; setfattr -h -n trusted.a -v x l',
    plant: 'setfattr -h -n trusted.a -v y l',
    by: ['walk', 'getfattr', 'rsync'],
    says: /trusted\.a is '78', on the target '79'/,
    kind: 'trusted',
  },
  {
    what: 'another attribute of a socket',
    make: `python3 -c "import os; os.mknod('s', 0o140644)"; setfattr -n trusted.a -v x s`,
    plant: 'setfattr -x trusted.a s',
    by: ['walk', 'getfattr', 'rsync'],
    says: /trusted\.a is '78', on the target absent/,
    kind: 'specials',
  },
  {
    what: 'other capabilities',
    make: 'touch f; setcap cap_net_raw+ep f',
    plant: 'setcap cap_net_raw+p f',
    by: ['walk', 'getfattr', 'getcap', 'rsync'],
    says: /f cap_net_raw=ep: is missing on the target/,
    kind: 'capabilities',
  },
  {
    what: 'other rights of a user in an ACL',
    make: 'touch f; setfacl -m u:70000:r,m::rw f',
    plant: 'setfacl -m u:70000:rw,m::rw f',
    by: ['walk', 'getfattr', 'getfacl', 'rsync'],
    says: /getfacl: .*user:70000 is 'r--', on the target 'rw-'/,
    kind: 'acls',
  },
  {
    what: 'a default ACL that is gone',
    make: 'mkdir d; setfacl -d -m g:70000:r d',
    plant: 'setfacl -k d',
    by: ['walk', 'getfattr', 'getfacl', 'rsync'],
    says: /getfacl: .*d: is missing on the target/,
    kind: 'acls',
  },
];

const LINKS_AND_SPECIALS: Plant[] = [
  {
    what: 'a hard link that is broken',
    make: 'touch a; ln a b; ln a c',
    plant: 'cp -a b x; mv x b',
    by: ['walk', 'find', 'rsync'],
    says: /b: hard link of is 'p\d\d\/a', on the target absent/,
    kind: 'hard-links',
  },
  {
    what: 'two equal files that are joined',
    make: 'touch a b',
    plant: 'ln -f a b',
    by: ['walk', 'find'],
    says: /b: hard link of is absent, on the target 'p\d\d\/a'/,
    kind: 'hard-links',
  },
  {
    what: 'another group of hard links',
    make: 'touch a b; ln a c; ln b d',
    plant: 'ln -f a d; ln -f b c',
    by: ['walk', 'find', 'rsync'],
    says: /c: hard link of is 'p\d\d\/a', on the target 'p\d\d\/b'/,
    kind: 'hard-links',
  },
  {
    what: 'another number of a device',
    make: 'mknod -m 600 n c 1 3',
    plant: `rm n; mknod -m 600 n c 1 5; ${KEEP_TIME}`,
    by: ['walk', 'stat', 'rsync'],
    says: /device is '1:3', on the target '1:5'/,
    kind: 'devices',
  },
  {
    what: 'a block device where a character device was',
    make: 'mknod -m 600 n c 7 200',
    plant: `rm n; mknod -m 600 n b 7 200; ${KEEP_TIME}`,
    by: ['walk', 'find', 'stat'],
    says: /type is 'c', on the target 'b'/,
    kind: 'devices',
  },
  {
    what: 'a socket where a FIFO was',
    make: 'mkfifo -m 644 p',
    plant: `rm p; python3 -c "import os; os.mknod('p', 0o140644)"; ${KEEP_TIME}`,
    by: ['walk', 'find', 'rsync'],
    says: /type is 'p', on the target 's'/,
    kind: 'specials',
  },
  {
    what: 'a device that is missing',
    make: 'mknod n c 0 0',
    plant: 'rm n',
    by: ['walk', 'find', 'stat', 'rsync'],
    says: /n: is missing on the target/,
    kind: 'devices',
  },
];

export const PLANTS: readonly Plant[] = [...CONTENTS, ...RIGHTS, ...ATTRIBUTES, ...LINKS_AND_SPECIALS];
