/**
 * Names that operators give to agents, peers and volumes. They stand in configurations, file names and commands.
 */

export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
export const NAME_CHARS_MAX = 63;
export const NAME_ALLOWED = 'a name of 1 to 63 letters, digits, dots, - and _ that begins with a letter or digit';
