/**
 * Judges the host itself: kernel, rights, clock. Pure.
 */
import {finding, type Finding} from './finding.ts';

export interface HostFacts {
  /** `uname -r`. */
  release: string;
  /** Errno names; undefined when the call works. */
  openat2Fault: string | undefined;
  chrootFault: string | undefined;
  inotifyFault: string | undefined;
  uid: number;
  /** Effective capabilities as a bit set (CapEff of /proc/self/status). */
  capabilities: bigint;
  /** In a user namespace of its own root is not the host's root. */
  isInitialUserNamespace: boolean;
  openFilesMax: number;
  clock: {isSynchronised: boolean; errorUs: number} | undefined;
}

const KERNEL_MIN = [5, 6] as const;
const KERNEL_MOUNT_IDS = [5, 8] as const;
const OPEN_FILES_MIN = 4096;

/** Numbers of capabilities(7), and what is missing without each. */
const CAPABILITIES: readonly {bit: bigint; name: string; without: string}[] = [
  {bit: 0n, name: 'CAP_CHOWN', without: 'owners cannot be set'},
  {bit: 1n, name: 'CAP_DAC_OVERRIDE', without: "other users' files cannot be written"},
  {bit: 2n, name: 'CAP_DAC_READ_SEARCH', without: "other users' files cannot be read"},
  {bit: 3n, name: 'CAP_FOWNER', without: "modes and times of other users' files cannot be set"},
  {bit: 4n, name: 'CAP_FSETID', without: 'setgid bits of files of other groups are lost'},
  {bit: 18n, name: 'CAP_SYS_CHROOT', without: 'the second wall around volumes is missing'},
  {bit: 21n, name: 'CAP_SYS_ADMIN', without: 'roots cannot be marked'},
  {bit: 28n, name: 'CAP_LEASE', without: 'what is written to a version that was just replaced may be lost'},
];

export function judgeHost(facts: HostFacts): Finding[] {
  return [...judgeKernel(facts), ...judgePrivileges(facts), judgeClock(facts)];
}

function judgeKernel(facts: HostFacts): Finding[] {
  const findings: Finding[] = [];
  const {release} = facts;
  if (isOlder(release, KERNEL_MIN)) {
    findings.push(finding('kernel', 'bad', `Linux ${release} is older than 5.6`, 'run a newer kernel'));
  } else if (facts.openat2Fault !== undefined) {
    const fix = 'allow openat2 in the filter of system calls (in a container: a newer engine, or its seccomp profile)';
    findings.push(
      finding('kernel', 'warn', `openat2 is refused (${facts.openat2Fault}): folders are walked name by name`, fix),
    );
  }
  if (isOlder(release, KERNEL_MOUNT_IDS) && !isOlder(release, KERNEL_MIN)) {
    const what = `Linux ${release} does not tell mounts apart (5.8 does): one inside a volume may be taken for part of it`;
    findings.push(finding('kernel', 'note', what, 'run Linux 5.8 or newer'));
  }
  if (facts.inotifyFault !== undefined) findings.push(judgeInotify(facts.inotifyFault));
  if (findings.length === 0) findings.push(finding('kernel', 'ok', `Linux ${release} has every call that is needed`));
  return findings;
}

function judgeInotify(fault: string): Finding {
  const isLimit = fault === 'EMFILE';
  return finding(
    'kernel',
    'bad',
    isLimit ? 'no inotify instance is left for this user' : `inotify cannot be used (${fault})`,
    isLimit ? 'sysctl fs.inotify.max_user_instances=1024' : 'set `watch: chokidar` for the volumes',
  );
}

function judgePrivileges(facts: HostFacts): Finding[] {
  const area = 'privileges';
  const missing = CAPABILITIES.filter(({bit}) => (facts.capabilities & (1n << bit)) === 0n);
  const findings: Finding[] = [];
  if (missing.length > 0) {
    const who = facts.uid === 0 ? 'root lacks' : `user ${facts.uid} is not root and lacks`;
    const what = missing.map(({name, without}) => `${name} (${without})`).join(', ');
    const fix = facts.uid === 0 ? 'give the service these capabilities' : 'run the agent, and this command, as root';
    findings.push(finding(area, 'warn', `${who} ${what}`, fix));
  } else if (facts.chrootFault !== undefined) {
    const what = `chroot is refused (${facts.chrootFault}): the second wall around volumes is missing`;
    findings.push(finding(area, 'warn', what, 'allow chroot in the filter of system calls'));
  }
  if (!facts.isInitialUserNamespace) {
    const what = 'this runs in a user namespace: owners are those of the namespace, and roots cannot be marked';
    findings.push(finding(area, 'warn', what, 'run the agent on the host itself'));
  }
  if (facts.openFilesMax < OPEN_FILES_MIN) {
    const what = `at most ${facts.openFilesMax} files may be open, which is little for many volumes and peers`;
    findings.push(finding(area, 'note', what, `LimitNOFILE=65536 in the service, or ulimit -n 65536 here`));
  }
  if (findings.length === 0) findings.push(finding(area, 'ok', 'root, with both walls around volumes'));
  return findings;
}

function judgeClock({clock}: HostFacts): Finding {
  if (clock === undefined) return finding('clock', 'note', 'whether the clock is kept right cannot be asked here');
  if (clock.isSynchronised) return finding('clock', 'ok', 'the clock is synchronised');
  return finding(
    'clock',
    'warn',
    'nothing keeps the clock right: times in logs and in the trash cannot be compared between hosts',
    'timedatectl set-ntp true, or install chrony',
  );
}

function isOlder(release: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  return ownMajor < major || (ownMajor === major && ownMinor < minor);
}
