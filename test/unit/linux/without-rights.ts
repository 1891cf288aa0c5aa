/** Run as a process without capabilities: prints how the calls fare that have a second way for that case. */
import {mkdirSync} from 'node:fs';
import {linkFdAt, openRegular, openTmp} from '../../../src/linux/files.ts';
import {chmodHeld} from '../../../src/linux/metadata.ts';
import {closeFd, holdAt, openDirPath} from '../../../src/linux/open-fd.ts';
import {codeOf} from './code-of.ts';
import {jailed} from './jailed.ts';

const path = process.argv[2]!;
const fd = openDirPath(path);
mkdirSync(`${path}/rest`);
const {seen, end} = await jailed(fd, openDirPath(`${path}/rest`), () => Promise.resolve());
await end();
const linked = codeOf(() => linkFdAt(openTmp(fd, 0o600), fd, 'linked'));
const chmod = codeOf(() => chmodHeld(holdAt(fd, 'linked'), 0o640));
const noatime = codeOf(() => closeFd(openRegular(fd, 'foreign', {noatime: true}).fd));
process.stdout.write(JSON.stringify({seen, linked, chmod, noatime}));
