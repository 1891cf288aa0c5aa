/**
 * Questions of the source's end about the target's tree: nodes, contents, hard-link groups.
 *
 * Not a comparison. Invariant: a question is as large as the protocol allows at most, and is asked again page by page.
 */
import {TowlineError} from '../base/errors.ts';
import type {Digest} from '../model/digest.ts';
import type {RelPath} from '../model/path.ts';
import type {TreeNode} from '../model/tree.ts';
import {protocolFault} from '../wire/fault.ts';
import {splitNodeRequests, splitPaths} from '../wire/split.ts';
import type {LinkSession} from './link-port.ts';
import type {PeerTree} from './walk.ts';

const ASK_NODES_OPEN_MAX = 4; // overlapping requests hide the round trip
const GROUP_PATHS_ALL_MAX = 2_000_000;
const PAGE_GOES_ON = 0xffff_ffff; // PROTOCOL.md: more parts of this page follow

export class AskPeer implements PeerTree {
  readonly #link: number;
  readonly #session: LinkSession;

  constructor(options: {link: number}, parts: {session: LinkSession}) {
    this.#link = options.link;
    this.#session = parts.session;
  }

  /** Asks for nodes of the target's tree, in requests that overlap. @throws the reason why the session ended */
  async listNodes(nodes: {path: RelPath; prefix: Buffer}[]): Promise<TreeNode[]> {
    const parts = splitNodeRequests(nodes);
    const listed: TreeNode[] = [];
    for (let index = 0; index < parts.length; index += ASK_NODES_OPEN_MAX) {
      const answers = await Promise.all(
        parts.slice(index, index + ASK_NODES_OPEN_MAX).map((part) => this.#askNodes(part)),
      );
      listed.push(...answers.flat());
    }
    return listed;
  }

  /** Has files of the target hashed. @returns the contents of those that could be read */
  hashFiles(paths: RelPath[]): Promise<Map<RelPath, Digest>> {
    return this.#digestsOf('hash-files', paths);
  }

  /** Has files of the target read once more, from disk. @throws REFUSED when it does not know how to */
  verifyFiles(paths: RelPath[]): Promise<Map<RelPath, Digest>> {
    if (this.#session.speaks('verify-files')) return this.#digestsOf('verify-files', paths);
    const reason = 'the peer is of a version that does not know verify; update it, or verify the volume there';
    throw new TowlineError('REFUSED', reason, {reason});
  }

  async #digestsOf(kind: 'hash-files' | 'verify-files', paths: RelPath[]): Promise<Map<RelPath, Digest>> {
    const found = new Map<RelPath, Digest>();
    for (const part of splitPaths(paths)) {
      if (part.length === 0) continue;
      let at = 0;
      await this.#session.ask(
        (request) => ({kind, link: this.#link, request, paths: part}),
        (answer) => {
          if (answer.kind !== 'file-digests') return false;
          for (const digest of answer.digests) {
            const path = part[at++];
            if (path !== undefined && digest !== undefined) found.set(path, Buffer.from(digest));
          }
          return at >= part.length;
        },
      );
    }
    return found;
  }

  /** All hard-link groups of the target. */
  async groups(): Promise<RelPath[][]> {
    const groups: RelPath[][] = [];
    let pathCount = 0;
    for (let after = 0; ;) {
      let next = 0;
      await this.#session.ask(
        (request) => ({kind: 'list-groups', link: this.#link, request, after}),
        (answer) => {
          if (answer.kind !== 'group-listing') return false;
          groups.push(...answer.groups);
          pathCount += answer.groups.reduce((sum, group) => sum + group.length, 0);
          // A tree of as many linked files as this is repaired by nobody in memory; a peer that pages for ever is broken.
          if (pathCount > GROUP_PATHS_ALL_MAX)
            throw protocolFault('group-listing', 'paths of all groups', pathCount, GROUP_PATHS_ALL_MAX);
          next = answer.next;
          return next !== PAGE_GOES_ON;
        },
      );
      if (next === 0) return groups;
      if (next <= after) throw protocolFault('group-listing', 'next cursor', next, `above ${after}`);
      after = next;
    }
  }

  async #askNodes(nodes: {path: RelPath; prefix: Buffer}[]): Promise<TreeNode[]> {
    const listed: TreeNode[] = [];
    if (nodes.length === 0) return listed;
    await this.#session.ask(
      (request) => ({kind: 'list-nodes', link: this.#link, request, nodes}),
      (answer) => {
        if (answer.kind === 'node-listing') listed.push(...answer.nodes);
        return listed.length >= nodes.length;
      },
    );
    return listed;
  }
}
