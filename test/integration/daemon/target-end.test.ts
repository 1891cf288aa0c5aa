/** The end of a target: whatever fails of it, nothing stays held. */
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {DEFAULTS} from '../../../src/config/link-settings.ts';
import {TargetEnd} from '../../../src/daemon/target-end.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {injectInto} from '../../lab/inject.ts';
import {needsCommands} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';

needsCommands('strace')(test)(
  'a volume whose disk fails at the end is not held by a target that has ended',
  async () => {
    const [rootPath, stateFolder] = [makeTmpDir(), makeTmpDir()];
    const open = (): TargetEnd =>
      new TargetEnd(
        {
          ...{volume: 'sync', rootPath, stateFolder, isDryRun: false, isDurable: false, view: PLAIN_VIEW},
          ...{
            deleteLimits: DEFAULTS.deleteLimits,
            accept: DEFAULTS.accept,
            trashKeepMs: 3_600_000,
            inPlaceAbove: undefined,
          },
        },
        {onNotice: () => undefined},
      );
    const end = open();
    const stop = await injectInto(
      process.pid,
      {call: 'statx', error: 'EIO', when: '1+'},
      join(makeTmpDir('file'), 'calls'),
    );
    try {
      await expect(end.close()).rejects.toThrow('EIO');
    } finally {
      expect(await stop()).toBeGreaterThan(0);
    }
    await open().close();
  },
);
