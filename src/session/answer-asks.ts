/**
 * Answers what the source asks about the target's tree: nodes, contents, hard-link groups, signatures.
 *
 * Reads only. Invariant: an answer is no larger than a frame; what is larger goes in parts.
 */
import type {JobRunner} from '../base/jobs.ts';
import {signatureParts} from '../delta/signature-parts.ts';
import {digestAt, sameDigest, type Digest} from '../model/digest.ts';
import {seenOf} from '../model/entry.ts';
import type {TreeNode} from '../model/tree.ts';
import {encode} from '../wire/codec.ts';
import type {MessageOf} from '../wire/messages.ts';
import {splitGroups, splitNodes} from '../wire/split.ts';
import {READ_STATUS} from './large-file.ts';
import type {LinkSession} from './link-port.ts';
import {fileAt, type AnswerJobs, type KnownFile, type TargetTree} from './target-tree.ts';

export interface AnswerParts {
  session: LinkSession;
  jobs: JobRunner<AnswerJobs>;
  tree: TargetTree;
  onContradicted?: (file: KnownFile, found: Digest) => void;
}

const GROUPS_AT_ONCE = 256;
const PAGE_GOES_ON = 0xffff_ffff; // PROTOCOL.md: more parts of this page follow
const SIGNATURE_BLOCKS_AT_ONCE = 32_768; // 384 KiB a message

export async function answerNodes({link, request, nodes}: MessageOf<'list-nodes'>, parts: AnswerParts): Promise<void> {
  const {tree, session} = parts;
  const found = nodes.map(({path, prefix}): TreeNode => {
    const dirId = tree.dirIdOf(path);
    return dirId === undefined ? {kind: 'absent'} : tree.node(dirId, prefix);
  });
  for (const part of splitNodes(found))
    await session.sendData(encode({kind: 'node-listing', link, request, nodes: part}), true);
}

/** Hashes what was not read yet, and remembers it. */
export async function answerDigests(
  {link, request, paths}: MessageOf<'hash-files'>,
  parts: AnswerParts,
): Promise<void> {
  const {jobs, session, tree} = parts;
  const unread = paths.flatMap((path) => {
    const file = fileAt(tree, path);
    return file === undefined || file.entry.content !== undefined ? [] : [file];
  });
  if (unread.length > 0) {
    const files = unread.map(({path, entry}) => ({path, expected: seenOf(entry)}));
    const read = await jobs.run('hash-files', {files}, {lane: 1});
    for (const [index, {parentId, entry}] of unread.entries()) {
      if (read.status[index] !== READ_STATUS.ok) continue;
      tree.setContentOf({...entry, parentId}, digestAt(read.digests, index));
    }
  }
  const digests = paths.map((path) => fileAt(tree, path)?.entry.content);
  session.send({kind: 'file-digests', link, request, digests});
}

/** Reads files once more, from disk; the state learns nothing of it. */
export async function answerVerify(
  {link, request, paths}: MessageOf<'verify-files'>,
  {jobs, session, tree, onContradicted}: AnswerParts,
): Promise<void> {
  const files = paths.map((path) => fileAt(tree, path));
  const known = files.filter((file) => file !== undefined);
  const wanted = known.map(({path, entry}) => ({path, expected: seenOf(entry)}));
  const read = await jobs.run('hash-files', {files: wanted, isFromDisk: true}, {lane: 1});
  const found = new Map<KnownFile, Digest>();
  for (const [index, file] of known.entries()) {
    if (read.status[index] !== READ_STATUS.ok) continue;
    const content = digestAt(read.digests, index);
    found.set(file, content);
    if (file.entry.content !== undefined && !sameDigest(file.entry.content, content)) onContradicted?.(file, content);
  }
  session.send({kind: 'file-digests', link, request, digests: files.map((file) => file && found.get(file))});
}

export async function answerGroups(
  {link, request, after}: MessageOf<'list-groups'>,
  {tree, session}: AnswerParts,
): Promise<void> {
  const {groups, next} = tree.groups(after, GROUPS_AT_ONCE);
  const parts = splitGroups(groups);
  if (parts.length === 0) parts.push([]);
  for (const [index, part] of parts.entries()) {
    // Only the last part of the page says where the next one begins.
    const isLast = index === parts.length - 1;
    const listing = {kind: 'group-listing', link, request, groups: part, next: isLast ? next : PAGE_GOES_ON} as const;
    await session.sendData(encode(listing), true);
  }
}

export async function answerSignature(
  {link, request, path, content, blockBytes, seed}: MessageOf<'ask-signature'>,
  {jobs, session, tree}: AnswerParts,
): Promise<void> {
  const file = fileAt(tree, path);
  const isThere = file !== undefined && sameDigest(file.entry.content, content);
  const input = isThere
    ? {file: {path, expected: seenOf(file.entry)}, content: Buffer.from(content), blockBytes, seed: Buffer.from(seed)}
    : undefined;
  const signature = input === undefined ? undefined : await jobs.run('sign-file', input, {lane: 1});
  if (signature === undefined) {
    const message = 'the file is not there with that content';
    session.send({kind: 'no-signature', link, request, code: 'base-changed', message});
    return;
  }
  const whole = {...signature, strong: Buffer.from(signature.strong), weak: Buffer.from(signature.weak)};
  for (const rows of signatureParts(whole, SIGNATURE_BLOCKS_AT_ONCE))
    await session.sendData(encode({kind: 'signature', link, request, rows}), false);
}
