/**
 * What several agents do together: being paired, and coming to hold the same.
 *
 * The judge is rsync, which knows nothing of Towline's digests. Not for tests alone: measurements use it too.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {text} from 'node:stream/consumers';
import {prepareFolder} from '../../src/state/state-files.ts';
import {loadOrCreateIdentity} from '../../src/transport/identity-file.ts';
import {PORT, type TestAgent} from './agent.ts';

const IN_SYNC_MS_MAX = 20_000;

export interface PairOptions {
  /** How `a` finds `b`; `'none'`: `b` dials. By IPv4 unless said otherwise. */
  aDials?: 'ipv4' | 'ipv6' | 'none' | {host: string; port: number};
  /** How `b` finds `a`, likewise; it does not dial unless asked to. */
  bDials?: 'ipv4' | 'ipv6' | 'none' | {host: string; port: number};
}

/** Pins two agents to each other by writing their peers.d: for tests that are not about pairing. */
export async function pair(
  a: TestAgent,
  b: TestAgent,
  {aDials = 'ipv4', bDials = 'none'}: PairOptions = {},
): Promise<void> {
  const [aId, bId] = [await idOf(a), await idOf(b)];
  a.pin(b.name, bId, addressOf(b, aDials));
  b.pin(a.name, aId, addressOf(a, bDials));
  know(a, b);
}

/** As `towline id` prints it, without a process: most tests begin with this. */
async function idOf({stateFolder}: TestAgent): Promise<string> {
  prepareFolder(stateFolder);
  return (await loadOrCreateIdentity(stateFolder)).id;
}

/** Pairs them as people do: `a` invites, `b` joins with the code. @returns what `join` said */
export async function pairByInvite(a: TestAgent, b: TestAgent, ...joinArgs: string[]): Promise<string> {
  const code = await invite(a);
  know(a, b);
  return b.must('join', code.code, ...joinArgs);
}

/** Runs `towline invite` of a running agent. */
export async function invite(a: TestAgent): Promise<{code: string; [key: string]: unknown}> {
  const lines = (await a.must('invite', '--json')).trim().split('\n');
  const invitation = lines.map((line) => JSON.parse(line) as {code?: string}).find(({code}) => code !== undefined);
  if (invitation?.code === undefined) throw new Error(`towline invite printed no code: ${lines.join('\n')}`);
  return {...invitation, code: invitation.code};
}

function know(a: TestAgent, b: TestAgent): void {
  a.peers.set(b.name, b);
  b.peers.set(a.name, a);
}

function addressOf(agent: TestAgent, how: NonNullable<PairOptions['aDials']>): string | undefined {
  if (how === 'none') return undefined;
  if (how === 'ipv4') return `${agent.host.ipv4}:${PORT}`;
  if (how === 'ipv6') return `[${agent.host.ipv6}]:${PORT}`;
  return `${how.host}:${how.port}`;
}

/** Waits until an agent knows that its peers are gone: one whose last words a cut swallowed is only missed. */
export async function untilAlone(agent: TestAgent, timeoutMs = IN_SYNC_MS_MAX): Promise<void> {
  const isAlone = async (): Promise<boolean> => (await agent.report()).peers.every((peer) => !peer.isConnected);
  await agent.until('its peers are seen to be away', isAlone, timeoutMs);
}

/**
 * Waits until every link of a volume is in sync, as both of its ends say, and rsync finds nothing to do on any copy.
 * @throws Error with the last report, the end of the log and what rsync would still do
 */
export async function untilInSync(agent: TestAgent, volume: string, timeoutMs = IN_SYNC_MS_MAX): Promise<void> {
  let differences = 'it was not yet asked';
  const isInSync = async (): Promise<boolean> => {
    const {path, links} = await agent.volumeReport(volume);
    const sending = links.filter(({direction}) => direction === 'send');
    if (path === undefined || sending.length === 0 || sending.some(({state}) => state !== 'in-sync')) return false;
    for (const {peer, peerVolume} of sending) {
      const copy = await agent.peers
        .get(peer)!
        .volumeReport(peerVolume)
        .catch(() => undefined); // it may be away
      const back = copy?.links.find(({direction}) => direction === 'receive');
      if (back?.state !== 'in-sync' || copy?.path === undefined) return false;
      differences = await differencesOf(path, copy.path);
      if (differences !== '') return false;
    }
    return true;
  };
  await agent.until(`${volume} is in sync with all peers`, isInSync, timeoutMs).catch((error: unknown) => {
    const peers = [...agent.peers.values()].map((peer) => peer.failure('its end of the log').message);
    throw new Error(`${String(error)}\nrsync: ${differences.slice(0, 2_000)}\n${peers.join('\n')}`);
  });
}

const JUDGE = '-aHAXSni --numeric-ids --checksum --delete --modify-window=-1 --exclude=/.towline'.split(' ');

/** What rsync would still do to make both folders equal; '' when nothing. Files that vanish meanwhile are a line too. */
export async function differencesOf(source: string, copy: string, ...more: string[]): Promise<string> {
  // As root, rsync's -X compares trusted attributes too: the mark of a root is not of the volume.
  const args = [...JUDGE, '--filter=-x trusted.towline.*', ...more, `${source}/`, `${copy}/`];
  const child = spawn('rsync', args, {stdio: ['ignore', 'pipe', 'pipe']});
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return child.exitCode === 0 ? stdout : `${stdout}${stderr}rsync ended with ${child.exitCode}`;
}
