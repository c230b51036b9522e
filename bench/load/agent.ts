// One agent as a process of its own, so that it can be killed and paused: `node agent.js ADDRESS TOKEN HELLO`, hello as
// base64 (it loads no protobuf library, fifty of them start at once). It tells its parent of its welcome and of each answer.
import { GrpcReader, grpcHeaders, H2Client } from '../../test/support/h2-client.ts';
import { echoOffset, heartbeatFor } from './frames.ts';

export type AgentNews = { kind: 'attached' } | { kind: 'answered'; atMs: number } | { kind: 'over' };

const [address = '', token = '', hello = ''] = process.argv.slice(2);
const colon = address.lastIndexOf(':');
const tell = (news: AgentNews) => process.send?.(news);

const client = new H2Client({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)) });
await client.connected();
let attached = false;
const reader = new GrpcReader({
  onMessage: (message) => {
    const offset = echoOffset(message);
    if (offset >= 0) {
      client.send(stream, heartbeatFor(message, offset));
      tell({ kind: 'answered', atMs: performance.timeOrigin + performance.now() });
    } else if (!attached) {
      attached = true;
      tell({ kind: 'attached' });
    }
  },
});
const headers = grpcHeaders('/mycosoft.orchestrator.agent.v1.SessionService/OpenSession', address, {
  authorization: `Bearer ${token}`,
});
const stream = client.open(
  headers,
  { data: (payload) => reader.read(payload), end: () => tell({ kind: 'over' }) },
  Buffer.from(hello, 'base64'),
);
process.on('disconnect', () => process.exit(0));
