/** The code of the error that `action` throws, or 'none'. */
export function codeOf(action: () => unknown): string {
  try {
    action();
    return 'none';
  } catch (error) {
    return (error as {code?: string}).code ?? String(error);
  }
}
