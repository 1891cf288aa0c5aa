/** The trash with a planted bug: what others have changed is dropped, as if this link had written it. */
import {removeTree} from '../../../src/apply/remove-tree.ts';
import {Trash as RealTrash} from '../../../src/apply/trash.ts';

export * from '../../../src/apply/trash.ts';

export class Trash extends RealTrash {
  override take(...[fromFd, name, item]: Parameters<RealTrash['take']>): string | undefined {
    if (item.reason !== 'foreign') return super.take(fromFd, name, item);
    removeTree(fromFd, name);
    return undefined;
  }
}
