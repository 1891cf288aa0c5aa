/**
 * Where a volume's root is found, as people write it: a folder, an engine's volume, or what is mounted in a container.
 * Pure: finding it is the engine's and the operating system's business.
 */

export type EngineName = 'docker' | 'podman';

export type Address =
  /** Absolute host path, as text. */
  | {kind: 'path'; path: string}
  /** `docker:NAME`, `podman:NAME` */
  | {kind: 'volume'; engine: EngineName; volume: string}
  /** `docker-container:NAME:/mount`, `podman-container:NAME:/mount` */
  | {kind: 'container'; engine: EngineName; container: string; mount: string};

/** The address as it is written in a configuration. */
export function showAddress(address: Address): string {
  switch (address.kind) {
    case 'path':
      return address.path;
    case 'volume':
      return `${address.engine}:${address.volume}`;
    case 'container':
      return `${address.engine}-container:${address.container}:${address.mount}`;
  }
}
