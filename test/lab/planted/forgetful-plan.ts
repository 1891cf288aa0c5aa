/** The plan of a path, with a planted bug: what is called `lost` is never sent. */
import {planPath as realPlan} from '../../../src/reconcile/plan-path.ts';

export * from '../../../src/reconcile/plan-path.ts';

export function planPath(...args: Parameters<typeof realPlan>): ReturnType<typeof realPlan> {
  return args[0] === 'lost' ? undefined : realPlan(...args);
}
