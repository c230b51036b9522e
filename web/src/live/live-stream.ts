import { create } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import type { Agent } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentChange_Type,
  type WatchAgentsResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Alert } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type WatchLiveRequest,
  WatchLiveRequestSchema,
  type WatchLiveResponse,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { harmless, harmlessText, isHarmless } from '../lib/harmless.ts';
import { timeMs, toDuration } from '../lib/time.ts';
import { type AgentRow, type AgentSampled, readingOf, rowOf } from './agent-row.ts';
import { type FromWorker, type PartNews, steadyNow, type WatchSpec } from './protocol.ts';

export interface LiveStreamOptions {
  open(request: WatchLiveRequest, signal: AbortSignal): AsyncIterable<WatchLiveResponse>;
  post(message: FromWorker): void;
}

const MIN_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;
/** A stream that says nothing for so long is taken for dead: the status comes far more often. */
const SILENCE_MS = 15_000;
/** Rows and readings go to the page so often, and at most so many at once: each batch is one short task there. */
const FLUSH_MS = 250;
const MAX_BATCH = 400;

/** The one stream of the page: opened anew when the page wants other parts, and after each failure with growing pauses. */
export class LiveStream {
  readonly #options: LiveStreamOptions;
  #ending: AbortController | undefined;
  #spec: WatchSpec | undefined;
  #watch = 0;
  #backoffMs = MIN_BACKOFF_MS;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #replicaId: string | undefined;
  #heardTold = 0;
  readonly #upserts = new Map<string, AgentRow>();
  readonly #removed = new Set<string>();
  readonly #samples = new Map<string, AgentSampled>();
  readonly #whole = new Map<string, Agent>();
  #synced = false;

  constructor(options: LiveStreamOptions) {
    this.#options = options;
  }

  watch(watch: number, spec: WatchSpec): void {
    this.#watch = watch;
    this.#spec = spec;
    this.#backoffMs = MIN_BACKOFF_MS;
    this.#open();
  }

  /** Tries again at once. */
  retry(): void {
    if (this.#retryTimer !== undefined) this.#open();
  }

  #open(): void {
    const spec = this.#spec;
    if (spec === undefined) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#ending?.abort();
    const ending = new AbortController();
    this.#ending = ending;
    this.#forget();
    void this.#follow(spec, this.#watch, ending);
  }

  async #follow(spec: WatchSpec, watch: number, ending: AbortController): Promise<void> {
    const { open, post } = this.#options;
    if (this.#replicaId === undefined) post({ kind: 'link', link: { state: 'connecting' } });
    let began = false;
    let reason = 'the stream ended';
    try {
      this.#listen(ending);
      for await (const news of open(requestOf(spec), ending.signal)) {
        if (ending !== this.#ending) return;
        this.#listen(ending);
        if (!began) {
          began = true;
          this.#backoffMs = MIN_BACKOFF_MS;
          post({ kind: 'begin', watch });
        }
        this.#heard(news);
        this.#take(news, watch, spec);
      }
    } catch (error) {
      reason = harmlessText(ConnectError.from(error).rawMessage);
    }
    if (ending !== this.#ending) return;
    clearTimeout(this.#silence);
    this.#flush(watch);
    this.#replicaId = undefined;
    // Spread, so that a replica that comes back does not meet every page at once.
    const pauseMs = this.#backoffMs * (0.75 + Math.random() / 2);
    this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_BACKOFF_MS);
    post({ kind: 'link', link: { state: 'lost', reason, retryAt: steadyNow() + pauseMs } });
    this.#retryTimer = setTimeout(() => this.#open(), pauseMs);
  }

  #listen(ending: AbortController): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => ending.abort(new Error('nothing was heard for 15 s')), SILENCE_MS);
  }

  #heard(news: WatchLiveResponse): void {
    const at = steadyNow();
    if (news.replicaId !== this.#replicaId) {
      this.#replicaId = news.replicaId;
      this.#options.post({ kind: 'link', link: { state: 'live', replicaId: harmlessText(news.replicaId) } });
    }
    if (at - this.#heardTold < FLUSH_MS) return;
    this.#heardTold = at;
    this.#options.post({ kind: 'heard', at, offsetMs: (timeMs(news.time) ?? at) - at });
  }

  #take(news: WatchLiveResponse, watch: number, spec: WatchSpec): void {
    const { part } = news;
    if (part.case === undefined) return;
    if (part.case === 'agents') this.#agents(part.value, watch, spec);
    else {
      const rawLabels = part.case === 'alerts' ? rawLabelsOf(part.value.alerts) : undefined;
      this.#options.post({
        kind: 'part',
        watch,
        part: part.case,
        value: harmless(part.value),
        ...(rawLabels === undefined ? {} : { rawLabels }),
      } as PartNews);
    }
  }

  #agents(news: WatchAgentsResponse, watch: number, spec: WatchSpec): void {
    const at = steadyNow();
    for (const { type, agent } of news.changes) {
      if (agent === undefined) continue;
      harmless(agent);
      if (type === AgentChange_Type.REMOVED) {
        this.#upserts.delete(agent.id);
        this.#samples.delete(agent.id);
        this.#removed.add(agent.id);
        continue;
      }
      this.#removed.delete(agent.id);
      this.#upserts.set(agent.id, rowOf(agent, at));
      if (spec.agentIds.includes(agent.id)) this.#whole.set(agent.id, agent);
    }
    for (const { agentId, observation, pendingDeliveries, tasks } of news.samples) {
      const reading = readingOf(harmless(observation), at);
      this.#samples.set(agentId, { id: agentId, reading, tasks, deliveries: pendingDeliveries });
    }
    // Samples come with synced false: only a response of changes tells.
    if (news.synced) this.#synced = true;
    this.#flushTimer ??= setTimeout(() => this.#flush(watch), FLUSH_MS);
  }

  /** Hands over a batch; what is left has its turn a moment later, so that the page can draw in between. */
  #flush(watch: number): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    const upserts = taken(this.#upserts, MAX_BATCH).map(([, row]) => row);
    const room = MAX_BATCH - upserts.length;
    const samples = taken(this.#samples, room).map(([, sample]) => sample);
    const removed = [...this.#removed];
    const whole = [...this.#whole.values()];
    this.#removed.clear();
    this.#whole.clear();
    const more = this.#upserts.size > 0 || this.#samples.size > 0;
    const synced = this.#synced && this.#upserts.size === 0;
    if (synced) this.#synced = false;
    if (upserts.length + samples.length + removed.length + whole.length === 0 && !synced) return;
    this.#options.post({ kind: 'agents', watch, upserts, removed, samples, whole, synced });
    if (more) this.#flushTimer = setTimeout(() => this.#flush(watch), 20);
  }

  #forget(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    this.#upserts.clear();
    this.#removed.clear();
    this.#samples.clear();
    this.#whole.clear();
    this.#synced = false;
  }
}

function requestOf(spec: WatchSpec): WatchLiveRequest {
  return create(WatchLiveRequestSchema, {
    namespace: spec.namespace,
    parts: spec.parts,
    minInterval: toDuration(spec.minIntervalMs),
    agentIds: spec.agentIds,
    recentEvents: spec.recentEvents,
    ...(spec.eventFilter === undefined ? {} : { eventFilter: spec.eventFilter }),
  });
}

function rawLabelsOf(alerts: readonly Alert[]): Map<string, Record<string, string>> {
  const hostile = alerts.filter(
    ({ labels }) => !Object.entries(labels).every(([name, value]) => isHarmless(name) && isHarmless(value)),
  );
  return new Map(hostile.map(({ id, labels }) => [id, { ...labels }]));
}

function taken<V>(map: Map<string, V>, most: number): [string, V][] {
  const entries: [string, V][] = [];
  for (const entry of map) {
    if (entries.length >= most) break;
    entries.push(entry);
  }
  for (const [key] of entries) map.delete(key);
  return entries;
}
