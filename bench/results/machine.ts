/** Where and with what a measurement was made, for its table. */
import {spawnSync} from 'node:child_process';
import {cpus, release, totalmem} from 'node:os';

/** Processors, memory, kernel and versions in one line. */
export function machineLine(): string {
  const {model} = cpus()[0]!;
  const rsync = /version (\S+)/.exec(spawnSync('rsync', ['--version'], {encoding: 'utf8'}).stdout)?.[1];
  const hardware = `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${hardware}, Linux ${release()}, Node ${process.version}, rsync ${rsync}, loop devices`;
}
