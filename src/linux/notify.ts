/**
 * Telling systemd how the service is: one datagram to the socket it names (sd_notify(3)), and how often it wants one.
 *
 * Invariant: nothing here throws or waits longer than a second. A service manager that is not there, or does not listen,
 * changes nothing in what the agent does.
 */
import {addressOf, errno, O_CLOEXEC, scratch, sendto, setsockopt, socket as openSocket, type Scratch} from './libc.ts';
import {EINTR} from './linux-error.ts';
import {closeFd} from './open-fd.ts';

type Environment = Record<string, string | undefined>;

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
const PATH_AT = 2; // in struct sockaddr_un, after the family
const PATH_BYTES_MAX = 107; // with its NUL 108
const SEND_SECONDS_MAX = 1; // a full queue means a busy manager; the agent's only thread must not wait for it
const ATTEMPTS_MAX = 5; // signals

let memory: {target: Scratch; timeout: Scratch} | undefined;

/**
 * @param fields lines of `KEY=value`: `READY=1`, `STOPPING=1`, `STATUS=…`, `WATCHDOG=1`, `reloadingFields()`
 * @returns whether it was sent; false also when no service manager asked for it
 */
export function notifySystemd(fields: string, env: Environment = process.env): boolean {
  const name = env['NOTIFY_SOCKET'] ?? '';
  if (name[0] !== '/' && name[0] !== '@') return false; // a vsock is a virtual machine's own PID 1, not ours
  const path = Buffer.from(name[0] === '@' ? `\0${name.slice(1)}` : name);
  if (path.length > PATH_BYTES_MAX) return false;
  const fd = openSocket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC, 0);
  if (fd < 0) return false;
  try {
    return send(fd, path, Buffer.from(fields));
  } finally {
    closeFd(fd);
  }
}

function send(fd: number, path: Buffer, message: Buffer): boolean {
  const {target, timeout} = (memory ??= {target: scratch(PATH_AT + PATH_BYTES_MAX + 1), timeout: scratch(16)});
  timeout.bytes.writeBigInt64LE(BigInt(SEND_SECONDS_MAX), 0);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, timeout.address, 16) < 0) return false;
  target.bytes.fill(0);
  target.bytes.writeUInt16LE(AF_UNIX, 0);
  path.copy(target.bytes, PATH_AT);
  // The length ends an abstract name, a NUL the path of a file.
  const targetBytes = PATH_AT + path.length + (path[0] === 0 ? 0 : 1);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const sent = sendto(fd, addressOf(message), message.length, MSG_NOSIGNAL, target.address, targetBytes);
    if (sent === message.length) return true;
    if (errno() !== EINTR) return false;
  }
  return false;
}

/** What begins a reload; `READY=1` ends it. The time is that of CLOCK_MONOTONIC, which hrtime counts in ns. */
export function reloadingFields(): string {
  return `RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`;
}

/**
 * How often `WATCHDOG=1` should be sent: half of the time after which systemd takes a silent service for hung.
 * @returns undefined when no watchdog waits for this process
 */
export function watchdogIntervalMs(
  env: Environment = process.env,
  own: {pid: number; ppid: number} = process,
): number | undefined {
  const limitUs = Number(env['WATCHDOG_USEC'] ?? '');
  if (!Number.isSafeInteger(limitUs) || limitUs <= 0) return undefined;
  const pid = env['WATCHDOG_PID'];
  // The launcher is what systemd started, and runs the program as its child where the Node.js in PATH is an old one.
  if (pid !== undefined && pid !== String(own.pid) && pid !== String(own.ppid)) return undefined;
  return Math.max(1, Math.floor(limitUs / 2000));
}
