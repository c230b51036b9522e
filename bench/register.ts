import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, printComparison, printFigure, say } from './figures.ts';
import { LoadGenerator } from './load/generator.ts';
import type { RegisterResult } from './load/protocol.ts';
import { cpuUs } from './process-stats.ts';
import { onLmdb, onRedis, type Subject } from './subjects.ts';

export interface RegisterOptions {
  clients: number;
  rounds: number;
  warmupMs: number;
  windowMs: number;
}

const bench = 'register';
const leastPerSecond = 3000;

/** How often this machine's disk takes a 4 KiB write and a sync in a second, where the stores keep their data. */
function syncsPerSecond(durationMs: number): number {
  const directory = mkdtempSync(join(tmpdir(), 'bench-sync-'));
  const file = openSync(join(directory, 'file'), 'w');
  const block = Buffer.alloc(4096, 1);
  const startMs = performance.now();
  let count = 0;
  try {
    for (; performance.now() - startMs < durationMs; count++) {
      writeSync(file, block, 0, block.length, (count % 256) * block.length);
      fdatasyncSync(file);
    }
    return count / ((performance.now() - startMs) / 1000);
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Sample extends RegisterResult {
  /** Of the server, warm-up included. */
  cpuUsPerRegistration: number;
}

async function measure(subject: Subject, options: RegisterOptions): Promise<Sample> {
  const server = await subject.start();
  const generator = new LoadGenerator();
  try {
    const { clients, warmupMs, windowMs } = options;
    const before = cpuUs(server.pid);
    const result = await generator.register({
      address: server.address,
      clients,
      warmupMs,
      durationMs: windowMs,
    });
    if (result.failed > 0) throw new Error(`${subject.name}: ${result.failed} registrations were refused`);
    const share = windowMs / (warmupMs + windowMs);
    return { ...result, cpuUsPerRegistration: ((cpuUs(server.pid) - before) * share) / result.acknowledged };
  } finally {
    await generator.close();
    await server.stop();
  }
}

/** Returns whether the target was reached. */
export async function register(options: RegisterOptions): Promise<boolean> {
  say(`register: ${options.clients} clients, each waiting for its acknowledgement, ${options.rounds} rounds`);
  printFigure({ bench, metric: 'syncs', subject: 'this disk', value: syncsPerSecond(1000), unit: '1/s' });
  const subjects = [onLmdb, onRedis];
  const results = new Map<Subject, Sample[]>(subjects.map((subject) => [subject, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const subject of subjects) results.get(subject)?.push(await measure(subject, options));
  }
  let met = true;
  for (const [subject, runs] of results) {
    const figure = (metric: string, value: number, unit: string) =>
      printFigure({ bench, metric, subject: subject.name, value, unit });
    const rate = median(runs.map(({ acknowledged, elapsedMs }) => acknowledged / (elapsedMs / 1000)));
    figure('acknowledged', rate, '1/s');
    figure('latency_p50', median(runs.map(({ p50Ms }) => p50Ms)), 'ms');
    figure('latency_p99', median(runs.map(({ p99Ms }) => p99Ms)), 'ms');
    figure('cpu_per_registration', median(runs.map((run) => run.cpuUsPerRegistration)), 'us');
    if (subject !== onLmdb) continue;
    met = rate >= leastPerSecond;
    printComparison({
      bench,
      metric: 'acknowledged',
      subject: subject.name,
      against: `at least ${leastPerSecond}/s`,
      value: rate,
      limit: leastPerSecond,
      met,
    });
  }
  return met;
}
