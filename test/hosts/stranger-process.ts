/**
 * Somebody whom no agent knows: calls an agent, answers in its place, or holds a crowd of sockets to it, and prints what
 * came of that, a JSON line each. What it is to do is its first argument.
 */
import {connect as connectTcp, type Socket} from 'node:net';
import {connect, createServer} from 'node:tls';

interface Key {
  keyPem?: string;
  certificatePem?: string;
}

export type StrangerTask =
  | ({do: 'call'; host: string; port: number; say: string; waitMs: number} & Key)
  | ({do: 'answer'; port: number; waitMs: number} & Key)
  | {do: 'crowd'; host: string; port: number; count: number; waitMs: number};

/** Of `call` and `answer`: everything that the other side let a stranger see. */
export interface Overheard {
  /** Decrypted. */
  text: string;
  /** Of the other side's certificate: subject, issuer, names. */
  certificate: string;
  /** 'closed' by the other side, or 'still open' at the end of the wait. */
  end: 'closed' | 'still open';
  ms: number;
}

export interface CrowdReport {
  opened: number;
  closed: number;
  /** Until the last of them was closed. */
  ms: number;
}

const TRICKLE_MS = 500; // a byte so often is what slow attackers do
const CLIENT_HELLO = Buffer.from('16030100f2010000ee0303', 'hex'); // how one begins: RFC 8446, 4.1.2 and 5.1

const task = JSON.parse(process.argv[2]!) as StrangerTask;
const startMs = performance.now();
const elapsedMs = (): number => Math.round(performance.now() - startMs);
const tell = (line: Overheard | CrowdReport | {listening: true}): void => console.log(JSON.stringify(line));

if (task.do === 'call') call(task);
else if (task.do === 'answer') answer(task);
else crowd(task);

function call({host, port, say, waitMs, keyPem: key, certificatePem: cert}: StrangerTask & {do: 'call'}): void {
  const socket = connect({host, port, rejectUnauthorized: false, ...(key === undefined ? {} : {key, cert})});
  let [text, certificate] = ['', ''];
  const finish = (end: Overheard['end']): void => {
    tell({text, certificate, end, ms: elapsedMs()});
    process.exit(0);
  };
  socket.on('secureConnect', () => {
    const {subject, issuer, subjectaltname} = socket.getPeerCertificate();
    certificate = JSON.stringify({subject, issuer, subjectaltname});
    socket.write(say);
  });
  socket.on('data', (data: Buffer) => (text += data.toString('latin1')));
  socket.on('error', () => undefined); // 'close' follows
  socket.on('close', () => finish('closed'));
  setTimeout(() => finish('still open'), waitMs);
}

function answer({port, waitMs, keyPem: key, certificatePem: cert}: StrangerTask & {do: 'answer'}): void {
  const server = createServer({
    ...(key === undefined ? {} : {key, cert}),
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.on('secureConnection', (socket) => {
    const {subject, issuer, subjectaltname} = socket.getPeerCertificate();
    const certificate = JSON.stringify({subject, issuer, subjectaltname});
    let text = '';
    socket.on('data', (data: Buffer) => (text += data.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => tell({text, certificate, end: 'closed', ms: elapsedMs()}));
  });
  // A caller that leaves before the handshake has ended has told nothing at all.
  server.on('tlsClientError', () => tell({text: '', certificate: '', end: 'closed', ms: elapsedMs()}));
  server.listen(port, '::', () => tell({listening: true}));
  setTimeout(() => process.exit(0), waitMs);
}

/** Half of them say nothing, half begin a handshake that takes for ever. */
function crowd({host, port, count, waitMs}: StrangerTask & {do: 'crowd'}): void {
  const report: CrowdReport = {opened: 0, closed: 0, ms: 0};
  const open = new Set<Socket>();
  const finish = (): void => {
    tell(report);
    process.exit(0);
  };
  for (let index = 0; index < count; index++) {
    const socket = connectTcp(port, host);
    socket.on('connect', () => {
      report.opened++;
      if (index % 2 === 1) trickle(socket);
    });
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    socket.on('close', () => {
      open.delete(socket);
      report.closed++;
      report.ms = elapsedMs();
      if (open.size === 0) finish();
    });
  }
  setTimeout(finish, waitMs);
}

function trickle(socket: Socket): void {
  let sent = 0;
  const timer = setInterval(
    () => socket.write(CLIENT_HELLO.subarray(sent++ % CLIENT_HELLO.length).subarray(0, 1)),
    TRICKLE_MS,
  );
  socket.once('close', () => clearInterval(timer));
}
