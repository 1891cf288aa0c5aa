/** A bar for each comparison: the time of the other program is 1, a shorter bar is faster. */
import {escaped, svg} from './growth-charts.ts';

export interface Ratio {
  label: string;
  /** Towline's time as a multiple of the other's. */
  ratio: number;
}

const [LABEL_WIDTH, BAR_WIDTH, LINE, TOP] = [430, 380, 20, 40];
const RATIO_MAX = 2.5; // a longer bar is cut, its figure stands beside it
const [FASTER, SLOWER] = ['#0b6bcb', '#c2571a'];

/** @param foot where the figures come from @returns the picture as SVG */
export function ratioBars(title: string, ratios: readonly Ratio[], foot: string): string {
  const width = LABEL_WIDTH + BAR_WIDTH + 60;
  const height = TOP + ratios.length * LINE + 40;
  const x = (ratio: number): number => LABEL_WIDTH + (Math.min(ratio, RATIO_MAX) / RATIO_MAX) * BAR_WIDTH;
  const bars = ratios.map(({label, ratio}, index) => {
    const y = TOP + index * LINE;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 13}" text-anchor="end">${escaped(label)}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y + 3}" width="${x(ratio) - LABEL_WIDTH}" height="13" fill="${ratio <= 1 ? FASTER : SLOWER}"/>`,
      `<text x="${x(ratio) + 5}" y="${y + 13}">${ratio.toFixed(2)}</text>`,
    ].join('');
  });
  const one = `<path d="M${x(1)} ${TOP - 4}V${TOP + ratios.length * LINE + 4}" stroke="#333" stroke-dasharray="3 3"/>`;
  const heading = `<text x="12" y="20" font-weight="bold">${escaped(title)}</text>`;
  return svg({width, height, foot, left: 12}, [heading, ...bars, one]);
}
