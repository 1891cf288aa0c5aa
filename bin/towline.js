#!/usr/bin/env node
/**
 * Starts Towline (dist/main.js) with Node.js 24: in this process if this is one, else in a child of the Node.js that the
 * package brings along. Plain JavaScript without dependencies, because any Node.js from 18 on must be able to read it.
 *
 * It decides nothing about the program: arguments, stdio and signals go in, the exit code or the killing signal comes
 * out. Invariant: what is missing on this machine is said in one sentence on stderr, with exit code 2.
 */
import {existsSync, readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {release} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const NODE_MAJOR_MIN = 24;
const KERNEL_MIN = [5, 6]; // openat2 and its RESOLVE_BENEATH

/**
 * V8 flags for the program, as on node's command line. Empty, because no measurement asks for one yet. In a process that
 * already runs they are set late: a flag that V8 reads only at its start then has no effect.
 */
const V8_FLAGS = [];

const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)));
const MAIN = join(PROJECT, 'dist', 'main.js');

/** What this machine lacks, as a sentence, or undefined. */
function missing() {
  if (process.platform !== 'linux') return `Towline runs on Linux 5.6 or newer; this is ${process.platform}`;
  const [major, minor] = release().split('.').map(Number);
  if (major < KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor < KERNEL_MIN[1])) {
    return `Towline runs on Linux 5.6 or newer; this is Linux ${release()}`;
  }
  if (!existsSync(MAIN)) return `Towline is not built yet: run \`npm run build\` in ${PROJECT}`;
  return undefined;
}

/** The path of the Node.js that the package brings along for this processor, or undefined. */
function bundledNode() {
  try {
    return createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
  } catch {
    return undefined;
  }
}

function fail(sentence) {
  process.stderr.write(`towline: ${sentence}\n`);
  process.exitCode = 2;
}

/**
 * Whether the terminal has sent its signal to the child already: Ctrl-C and a hang-up go to the whole foreground group.
 * Source: proc_pid_stat(5), fields 5 (pgrp) and 8 (tpgid).
 */
function isForeground() {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // fields[0] is field 3
    return fields[2] === fields[5];
  } catch {
    return false;
  }
}

async function runChild(node) {
  const {spawn} = await import('node:child_process');
  const child = spawn(node, [...V8_FLAGS, MAIN, ...process.argv.slice(2)], {stdio: 'inherit'});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  for (const signal of ['SIGINT', 'SIGHUP']) {
    process.on(signal, () => {
      if (!isForeground()) child.kill(signal);
    });
  }
  child.on('error', (error) => fail(`cannot start the Node.js in ${node}: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (signal === null) {
      process.exitCode = code;
      return;
    }
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

async function start() {
  const sentence = missing();
  if (sentence !== undefined) return fail(sentence);
  if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN) {
    if (V8_FLAGS.length > 0) (await import('node:v8')).setFlagsFromString(V8_FLAGS.join(' '));
    return import(MAIN);
  }
  const node = bundledNode();
  if (node !== undefined) return runChild(node);
  fail(
    `Towline needs Node.js ${NODE_MAJOR_MIN}, this is ${process.versions.node}, and the package node-linux-${process.arch} ` +
      `that would bring it is not installed (there is one for x64 and arm64, with glibc)`,
  );
}

await start();
