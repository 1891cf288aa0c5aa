/**
 * The program's entry: refuses what it cannot run on, then hands over to the command line.
 */
if (process.platform === 'linux') {
  const {startCli} = await import('./cli/start.ts');
  await startCli();
} else {
  process.stderr.write(`Error: Towline runs on Linux only, this is ${process.platform}\n`);
  process.exitCode = 2;
}
