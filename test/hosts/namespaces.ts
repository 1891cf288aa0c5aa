/**
 * Hosts on one machine: network namespaces on a bridge that has a namespace of its own. A host has an IPv4 and an IPv6
 * address, a cable that can be pulled, a line with a rate, a firewall, and its own /etc/hosts.
 *
 * Needs root, iproute2 and iptables. Nothing is joined to the machine's own network: what runs in a host reaches the
 * other hosts only. Invariant: only namespaces named after this run, or after a run that is over, are touched.
 */
import {type ChildProcess, spawn, spawnSync, type SpawnOptions} from 'node:child_process';
import {existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {isDeadRun, runId} from '../run-folders.ts';
import {atEnd, killAtEnd} from './clean-up.ts';

const NAMES_FOLDER = '/run/netns';
const HOSTS_FOLDER = '/etc/netns'; // `ip netns exec` mounts what is in there over /etc; source: ip-netns(8)
const NAMESPACE_NAME = /^towline-test-(\d+)-(\d+)-/; // the run, and when it was made, in seconds: its file has no times
const QUEUE_SECONDS = 0.2; // what waits before a slow line; more is dropped, as a router does
const QUEUE_BYTES_MIN = 16_384; // ten packets
const BURST_BYTES_MIN = 4_096; // above one packet, else nothing goes through
const HOST_COUNT_MAX = 100;

export interface Network {
  readonly hosts: readonly Host[];
  /** Ends what still runs in the hosts, and removes them; the end of the file does it too. */
  close(): void;
}

let networks = 0;

/** @param count of hosts; the first is 10.9.x.1 and fd00:9:x::1, and so on */
export function makeNetwork(count: number): Network {
  if (count > HOST_COUNT_MAX) throw new Error(`${count} hosts are more than ${HOST_COUNT_MAX}`);
  const index = networks++;
  const prefix = `towline-test-${runId()}-${Math.floor(Date.now() / 1_000)}-${process.pid}-${index}`;
  const bridge = `${prefix}-net`;
  const made: string[] = [];
  const close = (): void => made.splice(0).forEach(removeNamespace);
  const takeOff = atEnd(close);
  const addNamespace = (name: string): void => {
    must('ip', 'netns', 'add', name);
    made.push(name);
  };
  addNamespace(bridge);
  must('ip', '-n', bridge, 'link', 'add', 'br0', 'type', 'bridge');
  must('ip', '-n', bridge, 'link', 'set', 'br0', 'up');
  const hosts = Array.from({length: count}, (_, host) => {
    const namespace = `${prefix}-h${host + 1}`;
    addNamespace(namespace);
    return new Host({namespace, bridge, port: `p${host + 1}`, network: index % 250, number: host + 1});
  });
  return {
    hosts,
    close: () => {
      takeOff();
      close();
    },
  };
}

interface HostPlace {
  namespace: string;
  bridge: string;
  port: string;
  network: number;
  number: number;
}

export class Host {
  /** For `ip netns exec`. */
  readonly namespace: string;
  readonly ipv6: string;
  readonly #place: HostPlace;
  #ipv4: string;

  constructor(place: HostPlace) {
    const {namespace, bridge, port, network, number} = place;
    this.namespace = namespace;
    this.#place = place;
    this.#ipv4 = `10.9.${network}.${number}`;
    this.ipv6 = `fd00:9:${network}::${number}`;
    must('ip', 'link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', 'peer', 'name', port, 'netns', bridge);
    must('ip', '-n', bridge, 'link', 'set', port, 'master', 'br0', 'up');
    this.#ip('link', 'set', 'lo', 'up');
    this.#ip('addr', 'add', `${this.#ipv4}/24`, 'dev', 'eth0');
    this.#ip('-6', 'addr', 'add', `${this.ipv6}/64`, 'dev', 'eth0', 'nodad');
    this.#ip('link', 'set', 'eth0', 'up');
  }

  get ipv4(): string {
    return this.#ipv4;
  }

  /** A command line that runs in this host. The process that it starts is the program itself, with its id. */
  words(words: readonly string[]): string[] {
    // `ip netns exec` would give it mounts of its own, which later mounts of this machine may not reach; only names of
    // hosts need that.
    if (existsSync(`/etc/netns/${this.namespace}`)) return ['ip', 'netns', 'exec', this.namespace, ...words];
    return ['nsenter', `--net=/run/netns/${this.namespace}`, '--', ...words];
  }

  /** Runs a program here to its end. @returns its stdout @throws Error with what it said, unless it ended with 0 */
  run(...words: string[]): string {
    return must(...this.words(words));
  }

  /** Starts a program here; it is killed at the end of the file if it still runs. */
  spawn(words: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [command = '', ...args] = this.words(words);
    return killAtEnd(spawn(command, args, options));
  }

  /** Pulls the cable: addresses stay, nothing goes in or out, and nobody is told. */
  unplug(): void {
    must('ip', '-n', this.#place.bridge, 'link', 'set', this.#place.port, 'down');
  }

  plug(): void {
    must('ip', '-n', this.#place.bridge, 'link', 'set', this.#place.port, 'up');
  }

  /** Limits its line, each way for itself; undefined lifts the limit. */
  limitRate(bitsPerSecond: number | undefined): void {
    const {bridge, port} = this.#place;
    for (const [namespace, device] of [[this.namespace, 'eth0'] as const, [bridge, port] as const]) {
      spawnSync('tc', ['-n', namespace, 'qdisc', 'del', 'dev', device, 'root']); // none there is no fault
      if (bitsPerSecond === undefined) continue;
      const burstBytes = Math.max(BURST_BYTES_MIN, Math.ceil(bitsPerSecond / 8 / 200)); // 5 ms: timers are that coarse
      const queueBytes = Math.max(QUEUE_BYTES_MIN, Math.ceil((bitsPerSecond / 8) * QUEUE_SECONDS));
      const rule = ['tbf', 'rate', `${bitsPerSecond}bit`, 'burst', `${burstBytes}b`, 'limit', `${queueBytes}b`];
      must('tc', '-n', namespace, 'qdisc', 'add', 'dev', device, 'root', ...rule);
    }
  }

  /** A black hole: what goes to another host, or comes from it, vanishes; without a host, everything does. */
  dropPackets(other?: Host): void {
    this.#firewall(other, ['-j', 'DROP']);
  }

  /** Connections to and from another host, or all, are reset at their next packet, and new ones refused. */
  rejectPackets(other?: Host): void {
    this.#firewall(other, [
      '-p',
      'tcp',
      '!',
      '--tcp-flags',
      'RST',
      'RST',
      '-j',
      'REJECT',
      '--reject-with',
      'tcp-reset',
    ]);
  }

  /** Loses a share of all packets, from 0 to 1, each way. */
  losePackets(share: number): void {
    const rule = ['-m', 'statistic', '--mode', 'random', '--probability', String(share), '-j', 'DROP'];
    this.#firewall(undefined, rule);
  }

  /** Takes back what `dropPackets`, `rejectPackets` and `losePackets` did. */
  openFirewall(): void {
    for (const iptables of ['iptables', 'ip6tables']) this.run(iptables, '-F');
  }

  /** Takes another IPv4 address: the last number of it, below 255. Connections over the old one hang. */
  changeAddress(number: number): void {
    const old = this.#ipv4;
    this.#ipv4 = old.replace(/\d+$/, String(number));
    this.#ip('addr', 'del', `${old}/24`, 'dev', 'eth0');
    this.#ip('addr', 'add', `${this.#ipv4}/24`, 'dev', 'eth0');
  }

  /**
   * What its /etc/hosts says, name to address. Programs that were started here after the first call see each change.
   */
  nameHosts(names: Record<string, string>): void {
    const folder = join(HOSTS_FOLDER, this.namespace);
    mkdirSync(folder, {recursive: true});
    const lines = Object.entries({localhost: '127.0.0.1', ...names}).map(([name, address]) => `${address} ${name}\n`);
    writeFileSync(join(folder, 'hosts'), lines.join('')); // in place: running programs have this very file mounted
  }

  #ip(...words: string[]): void {
    must('ip', '-n', this.namespace, ...words);
  }

  #firewall(other: Host | undefined, target: readonly string[]): void {
    for (const [iptables, address] of [['iptables', other?.ipv4] as const, ['ip6tables', other?.ipv6] as const]) {
      const from = address === undefined ? ['!', '-i', 'lo'] : ['-s', address];
      const to = address === undefined ? ['!', '-o', 'lo'] : ['-d', address];
      this.run(iptables, '-A', 'INPUT', ...from, ...target);
      this.run(iptables, '-A', 'OUTPUT', ...to, ...target);
    }
  }
}

/** Removes the networks of this run, or of runs whose process is gone for an hour, with what still runs in them. */
export function removeRunNetworks(which: 'this-run' | 'dead-runs'): void {
  for (const name of namesIn(NAMES_FOLDER)) {
    const [, id = 0, madeSeconds = 0] = (NAMESPACE_NAME.exec(name) ?? []).map(Number);
    if (id === 0) continue;
    if (which === 'this-run' ? id === runId() : isDeadRun(id, madeSeconds * 1_000)) removeNamespace(name);
  }
}

function namesIn(folder: string): string[] {
  return statSync(folder, {throwIfNoEntry: false}) === undefined ? [] : readdirSync(folder);
}

/** Whatever runs in a namespace of ours was started by a test. */
function removeNamespace(name: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', name], {encoding: 'utf8'}).stdout ?? '';
  for (const pid of pids.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
  spawnSync('ip', ['netns', 'del', name]);
  rmSync(join(HOSTS_FOLDER, name), {recursive: true, force: true});
}

function must(...words: string[]): string {
  const [command = '', ...args] = words;
  const {status, stdout, stderr, error} = spawnSync(command, args, {encoding: 'utf8', maxBuffer: 1 << 26});
  if (status === 0) return stdout;
  throw new Error(`${words.join(' ')}: ${error?.message ?? `${stdout}${stderr}`.trim()}`);
}
