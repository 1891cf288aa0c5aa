/**
 * Prints, as the last line of a run, `N passed, N failed`, and before it every skipped test with its reason and every
 * test that passed only when it was tried again, with its first error.
 *
 * A file that could not be loaded and an error outside of a test count as one failure each, so that the line never
 * looks better than the run was. With `CI` set a skipped test is a failure.
 */
import type {Reporter, SerializedError, TestCase, TestModule, Vitest} from 'vitest/node';

const NO_REASON = 'no reason given';

export interface Summary {
  passed: number;
  failed: number;
  /** `file > title: reason`, one line a test. */
  skipped: string[];
  /** `file > title: first error`, one line a test. */
  retried: string[];
}

/** Counts every test of a run, and every error that belongs to no test. */
export function summarise(modules: readonly TestModule[], errors: readonly SerializedError[], isCi: boolean): Summary {
  const summary: Summary = {passed: 0, failed: errors.length, skipped: [], retried: []};
  for (const module of modules) {
    summary.failed += module.errors().length;
    for (const suite of module.children.allSuites()) summary.failed += suite.errors().length;
    for (const test of module.children.allTests()) countTest(summary, test, isCi);
  }
  return summary;
}

function countTest(summary: Summary, test: TestCase, isCi: boolean): void {
  const result = test.result();
  if (result.state === 'passed') {
    summary.passed++;
    if (test.diagnostic()?.flaky) {
      const [error] = result.errors ?? [];
      summary.retried.push(`${test.module.relativeModuleId} > ${test.fullName}: ${error?.message ?? 'no error'}`);
    }
  } else if (result.state === 'skipped') {
    const reason = test.meta().skipReason ?? result.note ?? NO_REASON;
    summary.skipped.push(`${test.module.relativeModuleId} > ${test.fullName}: ${reason}`);
    if (isCi) summary.failed++;
  } else {
    summary.failed++; // `pending`: the run ended before the test did
  }
}

export default class SummaryReporter implements Reporter {
  #isFiltered = false;

  onInit(vitest: Vitest): void {
    this.#isFiltered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const isCi = !['', '0', 'false'].includes(process.env['CI'] ?? '');
    const {passed, failed, skipped, retried} = summarise(modules, errors, isCi);
    if (failed > 0) process.exitCode = 1;
    // At the exit, because the other reporter still prints the failures after its own `onTestRunEnd`.
    process.once('exit', () => {
      // With `-t PATTERN` all other tests are skipped without a reason: that is what was asked for.
      const told = this.#isFiltered ? skipped.filter((line) => !line.endsWith(NO_REASON)) : skipped;
      for (const line of told) console.log(`${isCi ? 'skipped, which fails in CI' : 'skipped'}: ${line}`);
      for (const line of retried) console.log(`passed only when tried again: ${line}`);
      console.log(`${passed} passed, ${failed} failed`);
    });
  }
}
