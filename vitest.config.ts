import {defineConfig} from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000, // big trees are made before and removed after tests
    // A busy machine may fail a test of real processes; the run's end names each that was tried again.
    retry: process.env['CI'] ? 2 : 0,
    globalSetup: ['test/global-setup.ts'],
    reporters: ['default', './test/summary-reporter.ts'],
    env: {
      TOWLINE_TEST_RUN: String(process.pid), // names the temporary folders of this run
      PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, // mkfs and mount, also where a user's PATH lacks them
    },
  },
});
