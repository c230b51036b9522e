import { type ClientRequest, request } from 'node:http';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  MonitoringService,
  WatchLiveRequest_Part,
  WatchLiveRequestSchema,
} from '../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { ServiceProcess } from '../test/support/service.ts';
import { printComparison, printFigure, say } from './figures.ts';
import { LoadGenerator } from './load/generator.ts';
import { cpuUs, rssBytes } from './process-stats.ts';
import { onLmdb } from './subjects.ts';

export interface LiveOptions {
  agents: number;
  /** Watchers at the same time. */
  watchers: number;
  settleMs: number;
  windowMs: number;
}

const bench = 'live';
const CONNECTIONS = 100;
/** A further watcher of 3,000 agents may cost so much of a core; of others in proportion. */
const CORE_SHARE_AT_3000 = 0.05;
/** Memory that readers that do not read may hold, each. */
const UNREAD_MB = 4;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A page that watches as the agents page does, without what it costs to decode. */
class Page {
  bytes = 0;
  messages = 0;
  ended = false;
  readonly #call: ClientRequest;
  #left = 0;
  #head = Buffer.alloc(0);

  constructor(http: string, reads: boolean) {
    const { STATUS, AGENTS, ALERTS } = WatchLiveRequest_Part;
    const message = toBinary(
      WatchLiveRequestSchema,
      create(WatchLiveRequestSchema, { parts: [STATUS, AGENTS, ALERTS] }),
    );
    // The Connect protocol's envelope: a byte of flags, four of length.
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    this.#call = request(`http://${http}/${MonitoringService.typeName}/WatchLive`, {
      method: 'POST',
      headers: { 'content-type': 'application/connect+proto', 'connect-protocol-version': '1' },
    });
    this.#call.on('error', () => {
      this.ended = true;
    });
    this.#call.on('response', (response) => {
      response.on('close', () => {
        this.ended = true;
      });
      if (reads) response.on('data', (chunk: Buffer) => this.#heard(chunk));
      else response.pause();
    });
    this.#call.end(Buffer.concat([head, message]));
  }

  close(): void {
    this.#call.destroy();
  }

  #heard(chunk: Buffer): void {
    this.bytes += chunk.length;
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, rest.length);
        this.#left -= taken;
        rest = rest.subarray(taken);
        continue;
      }
      const wanted = 5 - this.#head.length;
      this.#head = Buffer.concat([this.#head, rest.subarray(0, wanted)]);
      rest = rest.subarray(wanted);
      if (this.#head.length < 5) return;
      this.#left = this.#head.readUInt32BE(1);
      this.#head = Buffer.alloc(0);
      this.messages += 1;
    }
  }
}

/** What watching a fleet costs the service: its CPU for each page, bytes, and what pages that do not read do to it. */
export async function live({ agents, watchers, settleMs, windowMs }: LiveOptions): Promise<boolean> {
  const service = await ServiceProcess.start({
    env: {
      ORCHESTRATOR_SESSION_PING_INTERVAL: '1s',
      ORCHESTRATOR_SESSION_MAX_PINGS_PER_SECOND: '20000',
      ORCHESTRATOR_GRPC_MAX_CONNECTIONS_PER_ADDRESS: '20000',
    },
  });
  const generator = new LoadGenerator();
  const pages: Page[] = [];
  try {
    const layout = { connections: CONNECTIONS, agentsPerConnection: Math.ceil(agents / CONNECTIONS) };
    await generator.openSessions({ ...onLmdb, ...layout, address: service.grpc });
    await pause(settleMs);
    const cores = async (): Promise<number> => {
      const [before, startMs] = [cpuUs(service.pid), performance.now()];
      await pause(windowMs);
      return (cpuUs(service.pid) - before) / 1000 / (performance.now() - startMs);
    };
    const figure = (metric: string, value: number, unit: string) =>
      printFigure({ bench, metric, subject: `${agents} agents`, value, unit });
    const open = (count: number, reads = true) =>
      pages.push(...Array.from({ length: count }, () => new Page(service.http, reads)));
    const counted = await generator.count();
    const without = await cores();
    const heartbeats = (await generator.count()).roundTrips - counted.roundTrips;
    figure('heartbeats', heartbeats / (windowMs / 1000), 'heartbeats/s');
    figure('cpu_without', without, 'cores');
    open(1);
    await pause(2000);
    const first = await cores();
    figure('cpu_first_watcher', first - without, 'cores');
    const [page] = pages;
    const [bytes, messages] = [page?.bytes ?? 0, page?.messages ?? 0];
    open(watchers - 1);
    await pause(2000);
    const startMs = performance.now();
    const all = await cores();
    const seconds = (performance.now() - startMs + 2000) / 1000;
    const further = (all - first) / Math.max(1, watchers - 1);
    figure('cpu_further_watcher', further, 'cores');
    figure('bytes_per_watcher', ((page?.bytes ?? 0) - bytes) / seconds, 'bytes/s');
    figure('messages_per_watcher', ((page?.messages ?? 0) - messages) / seconds, 'messages/s');
    const limit = (CORE_SHARE_AT_3000 * agents) / 3000;
    let met = further <= limit;
    printComparison({
      ...{ bench, metric: 'cpu_further_watcher', subject: `${agents} agents`, against: 'a share of a core' },
      ...{ value: further, limit, met },
    });
    const before = rssBytes(service.pid);
    const unread = 10;
    open(unread, false);
    await pause(5000);
    const held = (rssBytes(service.pid) - before) / unread / (1 << 20);
    const heldMet = held <= UNREAD_MB;
    printComparison({
      ...{ bench, metric: 'unread_memory', subject: `${agents} agents`, against: 'MB a reader' },
      ...{ value: held, limit: UNREAD_MB, met: heldMet },
    });
    const reading = pages.slice(0, watchers).filter(({ ended }) => !ended).length;
    say(`  ${reading} of ${watchers} readers go on beside ${unread} that do not read`);
    met = met && heldMet && reading === watchers;
    return met;
  } finally {
    for (const page of pages) page.close();
    await generator.close();
    await service.stop();
  }
}
