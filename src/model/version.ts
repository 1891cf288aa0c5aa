/**
 * Version vectors: agent → counter. A mirror has one element; the form leaves room for two-way links.
 * Source: D. S. Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", 1983.
 */

/** Sorted by agent. `agent` is the first 8 bytes of the agent's ID as 16 hex digits. */
export type VersionVector = readonly {agent: string; counter: number}[];

/** The vector after one more change by `agent`. */
export function bumped(version: VersionVector, agent: string): VersionVector {
  const counter = (version.find((element) => element.agent === agent)?.counter ?? 0) + 1;
  return [...version.filter((element) => element.agent !== agent), {agent, counter}].sort((a, b) =>
    a.agent < b.agent ? -1 : 1,
  );
}
