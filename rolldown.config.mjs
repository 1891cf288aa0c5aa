/**
 * Bundles the compiled sources: one entry a thread, all files in one folder, so that a worker's entry is found beside
 * whatever file starts it. Packages stay outside.
 */
const ENTRIES = {
  main: 'main.js',
  'volume.worker': 'daemon/volume.worker.js',
  'target-end.worker': 'daemon/target-end.worker.js',
  'inotify.worker': 'watch/inotify.worker.js',
  'chokidar.child': 'watch/chokidar.child.js',
  'probe.child': 'control/doctor/probe.child.js',
};
const {BUILD_IN, BUILD_OUT} = process.env;

export default {
  input: Object.fromEntries(Object.entries(ENTRIES).map(([name, file]) => [name, `${BUILD_IN}/${file}`])),
  platform: 'node',
  external: (id) => !id.startsWith('.') && !id.startsWith('/'),
  output: {
    dir: BUILD_OUT,
    format: 'esm',
    cleanDir: false,
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
  },
};
