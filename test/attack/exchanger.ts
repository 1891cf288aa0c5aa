/** In a container: exchanges two paths of its volume for each other, as fast as it can, and counts. */
import {AT_FDCWD, renameat2, scratch} from '../../src/linux/libc.ts';
import {runInContainer, type Order, type Report} from './in-container.ts';

export interface ExchangeOrder extends Order {
  paths: [string, string];
}

const EXCHANGE = 2;
const BURST = 200;

await runInContainer<ExchangeOrder, Report>(({paths}) => {
  const [first, second] = paths.map((path) => {
    const text = scratch(Buffer.byteLength(path) + 1);
    text.bytes.write(path);
    return text.address;
  }) as [number, number];
  let count = 0;
  const step = (): void => {
    for (let index = 0; index < BURST; index++)
      if (renameat2(AT_FDCWD, first, AT_FDCWD, second, EXCHANGE) >= 0) count++;
  };
  return {step, report: () => ({count})};
});
