/** The version of what goes over the control socket. It counts up when one side would misunderstand the other. */
export const CONTROL_VERSION = 1;
