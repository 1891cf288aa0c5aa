/**
 * A source that looks like real data: a few hundred small files, one large one, symbolic links and a hard link.
 */
import {randomFillSync} from 'node:crypto';
import {chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';

const PAGES = 300;
const PAGES_PER_DIR = 50;
const DAYS = 30;
const LARGE_BYTES = 32 << 20;

/**
 * @param root is made
 * @returns what is in it, for people
 */
export function fillSource(root: string): string {
  const write = (path: string, content: string | Buffer): void => {
    mkdirSync(dirname(join(root, path)), {recursive: true});
    writeFileSync(join(root, path), content);
  };
  for (let page = 0; page < PAGES; page++) {
    const section = Math.floor(page / PAGES_PER_DIR) + 1;
    write(`site/section-${section}/page-${two((page % PAGES_PER_DIR) + 1)}.html`, htmlOf(page + 1));
  }
  for (let day = 1; day <= DAYS; day++) write(`notes/day-${two(day)}.txt`, `What happened on day ${day}.\n`);
  write('large.bin', randomFillSync(Buffer.alloc(LARGE_BYTES)));
  write('bin/hello.sh', '#!/bin/sh\necho hello\n');
  chmodSync(join(root, 'bin/hello.sh'), 0o755);
  symlinkSync('notes/day-30.txt', join(root, 'newest'));
  symlinkSync('site/section-1', join(root, 'start'));
  linkSync(join(root, 'notes/day-01.txt'), join(root, 'notes/first.txt'));
  return `${PAGES + DAYS + 1} small files, one of 32 MiB, 2 symbolic links, a hard link`;
}

function htmlOf(page: number): string {
  const paragraphs = Array.from({length: 10}, (_, index) => `<p>Paragraph ${index + 1} of page ${page}.</p>`);
  return `<!doctype html>\n<title>Page ${page}</title>\n${paragraphs.join('\n')}\n`;
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}
