/** Histories that a campaign found once, as small as fast-check could make them. */
import type {Event, History} from './histories.ts';

const event = (kind: Event['kind'], at: number, to: number, value = 0): Event => ({kind, at, to, value});
const NONE: Event[] = [];

export const FOUND: [title: string, history: History][] = [
  [
    'E4 what takes the place of a file that moves into a new directory goes after it, also with the same content',
    {
      before: [event('file', 0, 1)],
      now: [event('dir', 0, 0), event('file', 0, 45), event('exchange', 0, 17)],
      foreign: NONE,
      isLive: true,
    },
  ],
  [
    'E4 what lies in a directory that moves into a new one, and moves out to its old name, goes after it',
    {
      before: [event('dir', 0, 0), event('file', 0, 25)],
      now: [event('dir', 0, 6), event('file', 0, 47), event('rename', 53, 15), event('exchange', 0, 20)],
      foreign: NONE,
      isLive: true,
    },
  ],
  [
    'E4 a file that takes the place of a directory that moves into a new one goes after it',
    {
      before: [event('file', 0, 0), event('dir', 0, 29)],
      now: [event('exchange', 7, 0), event('dir', 0, 20), event('rename', 0, 29)],
      foreign: NONE,
      isLive: true,
    },
  ],
  [
    'M1 a file in the place of a directory that was to change places with what is gone from the target counts',
    {
      before: [event('file', 0, 0), event('dir', 0, 33), event('file', 0, 3)],
      now: [event('exchange', 10, 0)],
      foreign: [event('rename', 0, 4)],
      isLive: true,
    },
  ],
  [
    'M1 what is deleted below directories that changed places in the same batch counts',
    {
      before: [event('file', 0, 2), event('dir', 0, 45), event('file', 0, 0), event('dir', 0, 3)],
      now: [event('remove', 62, 0), event('exchange', 10, 0)],
      foreign: [event('file', 0, 47)],
      isLive: true,
    },
  ],
  [
    'M1 a name that cannot be seen and another one with other metadata do not take turns',
    {
      before: [event('dir', 0, 0), event('dir', 0, 17), event('file', 0, 2)],
      now: [
        event('hide', 3, 0),
        event('file', 0, 4),
        event('meta', 2, 0),
        event('rename', 1, 10),
        event('link', 3, 51),
      ],
      foreign: NONE,
      isLive: false,
    },
  ],
  [
    'M1 a name that cannot be seen and another one with other content do not take turns',
    {
      before: [event('dir', 0, 0), event('file', 0, 45)],
      now: [event('link', 49, 20), event('hide', 0, 0), event('write', 22, 0, 1)],
      foreign: NONE,
      isLive: false,
    },
  ],
  [
    'E4 what moves into a directory that took the place of one that moved into a new one comes after it',
    {
      before: [event('dir', 0, 0, 1), event('file', 0, 5, 1), event('dir', 0, 2, 1), event('file', 0, 8, 1)],
      now: [event('dir', 0, 6, 1), event('rename', 0, 19, 1), event('dir', 0, 0, 1), event('rename', 0, 4, 1)],
      foreign: NONE,
      isLive: true,
    },
  ],
  [
    'M1 a name is not linked to one that cannot be seen, and that the target lacks',
    {
      before: [event('dir', 0, 0), event('file', 0, 2), event('link', 49, 1)],
      now: [event('hide', 0, 0)],
      foreign: [event('rename', 0, 4)],
      isLive: false,
    },
  ],
  [
    'M1 a name is not linked to one that cannot be seen, and that was changed on the target',
    {
      before: [event('file', 0, 0), event('dir', 0, 21), event('rename', 0, 11)],
      now: [event('link', 3, 6), event('hide', 0, 0)],
      foreign: [event('write', 31, 0, 1)],
      isLive: false,
    },
  ],
];
