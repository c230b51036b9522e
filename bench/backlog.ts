import { connectClients } from '../test/support/clients.ts';
import { RawFleet } from '../test/support/tasks/raw-fleet.ts';
import { printComparison, printFigure, quantile, say } from './figures.ts';
import { rssBytes } from './process-stats.ts';
import { onLmdb, onRedisEverySecond, type Subject } from './subjects.ts';

export interface BacklogOptions {
  tasks: number;
  stores: readonly string[];
}

const bench = 'backlog';
const BATCH = 1000;
/** Tasks that want something different each, and owners: lines that are kept apart. */
const KINDS = 50;
const OWNERS = 20;
const LOOKS = 200;
const MOST_FIRST_MS = 100;
const MOST_EXPLAIN_MS = 20;

/** What it takes to have many tasks wait, to tell of them, and to begin one when an agent comes. Returns whether targets are met. */
export async function backlog(options: BacklogOptions): Promise<boolean> {
  const met: boolean[] = [];
  for (const subject of [onLmdb, onRedisEverySecond]) {
    if (options.stores.some((name) => subject.name.includes(name)))
      met.push(...(await measure(subject, options)));
  }
  return met.length > 0 && met.every(Boolean);
}

async function measure(subject: Subject, { tasks }: BacklogOptions): Promise<boolean[]> {
  say(`${subject.name}: ${tasks} tasks wait`);
  const server = await subject.start();
  const clients = connectClients(server.address);
  const fleet = new RawFleet({ address: server.address, onTask: () => {} });
  const figure = (metric: string, value: number, unit: string): number => {
    printFigure({ bench, metric, subject: subject.name, value, unit });
    return value;
  };
  try {
    const emptyBytes = rssBytes(server.pid);
    const fromMs = performance.now();
    for (let at = 0; at < tasks; at += BATCH) {
      const some = Array.from({ length: Math.min(BATCH, tasks - at) }, (_, index) => request(at + index));
      await clients.tasks.batchSubmitTasks({ tasks: some });
    }
    figure('submitted', tasks / ((performance.now() - fromMs) / 1000), '1/s');
    figure('memory_per_task', (rssBytes(server.pid) - emptyBytes) / tasks, 'bytes');
    const explain = async (look: number): Promise<unknown> =>
      clients.tasks.explainTask({ taskId: idOf(Math.floor((look * tasks) / LOOKS)) });
    const explainMs = await times(explain);
    figure('explain_p50', quantile(explainMs, 0.5), 'ms');
    const slowest = figure('explain_p99', quantile(explainMs, 0.99), 'ms');
    let pageToken = '';
    const pageMs = await times(async () => {
      const page = await clients.tasks.listTasks({ pageSize: 100, pageToken });
      pageToken = page.nextPageToken;
    });
    figure('list_100_p50', quantile(pageMs, 0.5), 'ms');
    figure('list_100_p99', quantile(pageMs, 0.99), 'ms');
    const ownersMs = await times((look) =>
      clients.tasks.listTasks({ pageSize: 100, filter: { owner: `owner-${look % OWNERS}` } }),
    );
    figure('list_of_owner_p50', quantile(ownersMs, 0.5), 'ms');
    const firstMs: number[] = [];
    for (let index = 0; index < 20; index += 1) firstMs.push(await firstOf(fleet, index));
    figure('first_p50', quantile(firstMs, 0.5), 'ms');
    const first = figure('first_max', Math.max(...firstMs), 'ms');
    return [
      isAtMost(subject.name, 'first_max', first, MOST_FIRST_MS),
      isAtMost(subject.name, 'explain_p99', slowest, MOST_EXPLAIN_MS),
    ];
  } finally {
    clients.close();
    fleet.close();
    await server.stop();
  }
}

const idOf = (index: number): string => `t${String(index).padStart(7, '0')}`;

function request(index: number) {
  const spec = {
    capability: `kind-${index % KINDS}`,
    resources: { cpu_milli: 100n },
    priority: index % 7,
    labels: { owner: `owner-${index % OWNERS}` },
  };
  return { taskId: idOf(index), spec };
}

/** How long after its welcome a new agent is given its first task. */
async function firstOf(fleet: RawFleet, index: number): Promise<number> {
  const given = new Promise<number>((resolve) => {
    fleet.onTask = ({ agent, atMs }) => {
      if (agent.id === `agent-${index}`) resolve(atMs);
    };
  });
  const spec = {
    capabilities: [{ name: `kind-${index % KINDS}` }],
    capacity: { slots: 4n, cpu_milli: 1000n },
  };
  await fleet.join([{ id: `agent-${index}`, spec }]);
  const welcomeMs = performance.now();
  return Math.max(0, (await given) - welcomeMs);
}

async function times(look: (index: number) => Promise<unknown>): Promise<number[]> {
  const all: number[] = [];
  for (let index = 0; index < LOOKS; index += 1) {
    const fromMs = performance.now();
    await look(index);
    all.push(performance.now() - fromMs);
  }
  return all;
}

function isAtMost(subject: string, metric: string, value: number, limit: number): boolean {
  const met = value <= limit;
  printComparison({ bench, metric, subject, against: `${limit} ms`, value, limit, met });
  return met;
}
