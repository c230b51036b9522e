import { median, printComparison, printFigure, say } from './figures.ts';
import { LoadGenerator } from './load/generator.ts';
import type { MessageResult } from './load/protocol.ts';
import { findNats, onLmdb, onRedis, onRedisEverySecond, type Running, relay, startNats } from './subjects.ts';

export interface TrafficOptions {
  pairs: number;
  rate: number;
  window: number;
  payload: number;
  rounds: number;
  warmup: number;
  seconds: number;
  only: readonly string[];
}

export interface TrafficSubject {
  name: string;
  carrier: 'session' | 'jetstream';
  register: boolean;
  start(): Promise<Running>;
}

const bench = 'messages';
const OVER_RELAY = 2;
const OVER_JETSTREAM = 2;
const MOST_CPU_US = 100;
const LEAST_PER_SECOND = 10_000;
const JETSTREAM = 'NATS JetStream';

interface Sample extends MessageResult {
  /** Of the server and of what works for it, for each message. */
  serverUs: number;
  helpersUs: number;
}

async function measure(
  subject: TrafficSubject,
  options: TrafficOptions,
  how: { window: number; rate: number },
): Promise<Sample> {
  const server = await subject.start();
  const generator = new LoadGenerator();
  try {
    const { pairs, payload, warmup, seconds } = options;
    const result = await generator.messages({
      carrier: subject.carrier,
      address: server.address,
      pairs,
      register: subject.register,
      payloadBytes: payload,
      window: how.window,
      ratePerSecond: how.rate,
      warmupMs: warmup * 1000,
      durationMs: seconds * 1000,
      watch: [server.pid, ...server.helpers.map(({ pid }) => pid)],
    });
    const [own = Number.NaN, ...helpers] = result.cpuUs.map((us) => us / result.acknowledged);
    return { ...result, serverUs: own, helpersUs: helpers.reduce((sum, us) => sum + us, 0) };
  } finally {
    await generator.close();
    await server.stop();
  }
}

interface Summary {
  p50Ms: number;
  perSecond: number;
  cpuUs: number;
}

function summarize(name: string, paced: readonly Sample[], saturated: readonly Sample[]): Summary {
  const figure = (metric: string, value: number, unit: string): number => {
    printFigure({ bench, metric, subject: name, value, unit });
    return value;
  };
  const of = (samples: readonly Sample[], pick: (sample: Sample) => number) => median(samples.map(pick));
  figure(
    'stored_p50',
    of(paced, ({ stored }) => stored.p50Ms),
    'ms',
  );
  figure(
    'received_p50',
    of(paced, ({ received }) => received.p50Ms),
    'ms',
  );
  figure(
    'received_p99',
    of(paced, ({ received }) => received.p99Ms),
    'ms',
  );
  figure(
    'over_p99',
    of(paced, ({ over }) => over.p99Ms),
    'ms',
  );
  figure(
    'saturated_over_p50',
    of(saturated, ({ over }) => over.p50Ms),
    'ms',
  );
  figure(
    'helpers_cpu_per_message',
    of(saturated, ({ helpersUs }) => helpersUs),
    'us',
  );
  return {
    p50Ms: figure(
      'over_p50',
      of(paced, ({ over }) => over.p50Ms),
      'ms',
    ),
    perSecond: figure(
      'saturated',
      of(saturated, ({ acknowledged, elapsedMs }) => acknowledged / (elapsedMs / 1000)),
      '1/s',
    ),
    cpuUs: figure(
      'cpu_per_message',
      of(saturated, (sample) => sample.serverUs),
      'us',
    ),
  };
}

/** Returns whether every target was reached and nothing was left out. */
export async function messages(options: TrafficOptions): Promise<boolean> {
  const { pairs, rate, window, rounds } = options;
  say(
    `messages: ${pairs} senders and receivers, at ${rate}/s and with ${window} of each under way, ${rounds} rounds`,
  );
  const nats = findNats();
  if (nats === undefined) say('not run: 1 subject (NATS is not installed: apt-get install nats-server)');
  const ours = [onLmdb, onRedis, onRedisEverySecond].map((subject) => ({
    ...subject,
    carrier: 'session' as const,
  }));
  const subjects: TrafficSubject[] = [
    { ...relay, carrier: 'session' as const },
    ...ours,
    ...(nats === undefined
      ? []
      : [{ name: JETSTREAM, carrier: 'jetstream' as const, register: false, start: () => startNats(nats) }]),
  ].filter(({ name }) => options.only.length === 0 || options.only.some((part) => name.includes(part)));
  const paced = new Map<string, Sample[]>();
  const saturated = new Map<string, Sample[]>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const subject of subjects) {
      const slow = await measure(subject, options, { window: 0, rate });
      const fast = await measure(subject, options, { window, rate: 0 });
      paced.set(subject.name, [...(paced.get(subject.name) ?? []), slow]);
      saturated.set(subject.name, [...(saturated.get(subject.name) ?? []), fast]);
      say(
        `  round ${round}/${rounds} ${subject.name}: ${slow.over.p50Ms.toFixed(2)} ms at ${rate}/s; ` +
          `${(fast.acknowledged / (fast.elapsedMs / 1000)).toFixed(0)}/s, ${fast.serverUs.toFixed(0)} us`,
      );
    }
  }
  const summaries = new Map(
    subjects.map(({ name }) => [name, summarize(name, paced.get(name) ?? [], saturated.get(name) ?? [])]),
  );
  const lmdb = summaries.get(onLmdb.name);
  const bare = summaries.get(relay.name);
  const redis = summaries.get(onRedisEverySecond.name);
  const jetstream = summaries.get(JETSTREAM);
  const results = [
    lmdb && bare && atMost('over_p50', onLmdb.name, relay.name, lmdb.p50Ms / bare.p50Ms, OVER_RELAY),
    redis &&
      jetstream &&
      atMost('over_p50', onRedisEverySecond.name, JETSTREAM, redis.p50Ms / jetstream.p50Ms, OVER_JETSTREAM),
    lmdb && atMost('cpu_per_message', onLmdb.name, `${MOST_CPU_US} us`, lmdb.cpuUs, MOST_CPU_US),
    lmdb && atLeast('saturated', onLmdb.name, `${LEAST_PER_SECOND}/s`, lmdb.perSecond, LEAST_PER_SECOND),
  ];
  return results.every((met) => met === true);
}

function atMost(metric: string, subject: string, against: string, value: number, limit: number): boolean {
  const met = value <= limit;
  printComparison({ bench, metric, subject, against, value, limit, met });
  return met;
}

function atLeast(metric: string, subject: string, against: string, value: number, limit: number): boolean {
  const met = value >= limit;
  printComparison({ bench, metric, subject, against, value, limit, met });
  return met;
}
