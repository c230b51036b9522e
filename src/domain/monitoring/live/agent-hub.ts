import { create } from '@bufbuild/protobuf';
import {
  type Agent,
  AgentSchema,
  AgentSpecSchema,
  VerdictSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentChange,
  AgentChange_Type,
  AgentChangeSchema,
  type AgentSample,
  AgentSampleSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import type { Observations, SeenReading } from '../../agent/observations.ts';
import { publicAgent } from '../../agent/record.ts';
import { type FeedEntry, KeyedFeed } from './keyed-feed.ts';

export interface AgentHubOptions {
  namespace: string;
  clock: Clock;
  directory: AgentDirectory;
  observations: Pick<Observations, 'brief' | 'isNews' | 'heardMs'>;
  /** Deliveries of an agent that are not finished, and tasks that it has. */
  counts: AgentCounts;
}

export interface AgentCounts {
  deliveries(namespace: string, agentId: string): number;
  tasks(namespace: string, agentId: string): number;
}

interface Seen extends SeenReading {
  deliveries: number;
  tasks: number;
  /** When its reading was last told of for its silence, monotonic milliseconds. */
  silentMs: number;
}

/** Two looks at all agents are at least so far apart, however many watchers there are. */
const SWEEP_MS = 200;
/** Who has been silent for so long is told of again as silence tells on its health… */
const SILENT_MS = 3000;
/** …this often… */
const SILENT_AGAIN_MS = 2000;
/** …and so many a look: in a mass failure the rest has its turn later. */
const SILENT_AT_ONCE = 200;

/** An encoded reading tells its age as it was then. */
const MAX_BYTES_AGE_MS = 1000;

/** The agents of a namespace, for all that watch them live: each change and each reading is encoded once for all. */
export class AgentHub {
  readonly changes = new KeyedFeed();
  readonly samples = new KeyedFeed();
  readonly #options: AgentHubOptions;
  readonly #seen = new Map<string, Seen>();
  #sweptMs = Number.NEGATIVE_INFINITY;

  constructor(options: AgentHubOptions) {
    this.#options = options;
    for (const { id } of options.directory.all(options.namespace)) this.changes.put(id);
  }

  changed(before: KnownAgent | undefined, after: KnownAgent | undefined): void {
    if (after !== undefined) this.changes.put(after.id);
    else if (before !== undefined) {
      this.changes.remove(before.id);
      this.samples.remove(before.id);
      this.#seen.delete(before.id);
    }
  }

  /** Finds the readings that are new. */
  sweep(): void {
    const { namespace, clock, directory, observations, counts } = this.#options;
    const nowMs = clock.monoMs();
    if (nowMs - this.#sweptMs < SWEEP_MS) return;
    this.#sweptMs = nowMs;
    let silent = 0;
    for (const known of directory.all(namespace)) {
      const seen = this.#seenOf(known.id);
      const isNews = observations.isNews(known, seen);
      const deliveries = counts.deliveries(namespace, known.id);
      const tasks = counts.tasks(namespace, known.id);
      if (isNews || deliveries !== seen.deliveries || tasks !== seen.tasks) {
        seen.deliveries = deliveries;
        seen.tasks = tasks;
        seen.silentMs = nowMs;
        this.samples.put(known.id);
        continue;
      }
      const heardMs = observations.heardMs(known);
      if (heardMs === undefined || nowMs - heardMs < SILENT_MS || nowMs - seen.silentMs < SILENT_AGAIN_MS)
        continue;
      if (silent === SILENT_AT_ONCE) continue;
      silent += 1;
      seen.silentMs = nowMs;
      this.samples.put(known.id);
    }
  }

  change({ key, removed, seq }: FeedEntry): AgentChange {
    const { namespace, directory } = this.#options;
    const known = removed ? undefined : directory.get(namespace, key);
    if (known === undefined) {
      const agent = create(AgentSchema, { namespace, id: key, revision: BigInt(seq) });
      return create(AgentChangeSchema, { type: AgentChange_Type.REMOVED, agent });
    }
    return create(AgentChangeSchema, {
      type: AgentChange_Type.UPSERTED,
      agent: brief(publicAgent(known.record, known.revision, undefined)),
    });
  }

  changeBytes(entry: FeedEntry): Uint8Array {
    entry.bytes ??= encode(AgentChangeSchema, this.change(entry));
    return entry.bytes;
  }

  /** Undefined: nothing is known of it. */
  sample(key: string): AgentSample | undefined {
    const { namespace, directory, observations } = this.#options;
    const known = directory.get(namespace, key);
    if (known === undefined) return undefined;
    const { deliveries, tasks } = this.#seenOf(key);
    const sample = create(AgentSampleSchema);
    sample.agentId = key;
    sample.pendingDeliveries = deliveries;
    sample.tasks = tasks;
    const observation = observations.brief(known);
    if (observation !== undefined) sample.observation = observation;
    return sample;
  }

  sampleBytes(entry: FeedEntry): Uint8Array | undefined {
    const nowMs = this.#options.clock.monoMs();
    if (entry.bytes !== undefined && nowMs - entry.madeMs < MAX_BYTES_AGE_MS) return entry.bytes;
    const sample = entry.removed ? undefined : this.sample(entry.key);
    if (sample === undefined) return undefined;
    entry.bytes = encode(AgentSampleSchema, sample);
    entry.madeMs = nowMs;
    return entry.bytes;
  }

  #seenOf(id: string): Seen {
    let seen = this.#seen.get(id);
    if (seen === undefined) {
      seen = { epoch: 0n, beats: -1, attached: false, deliveries: 0, tasks: 0, silentMs: 0 };
      this.#seen.set(id, seen);
    }
    return seen;
  }
}

/** Of thousands of agents, what a table shows: without annotations, descriptions of capabilities and samples of verdicts. */
export function brief(agent: Agent): Agent {
  if (agent.verdict !== undefined && agent.verdict.sampleMs.length > 0) {
    const verdict = create(VerdictSchema);
    agent.verdict = Object.assign(verdict, agent.verdict, { sampleMs: [] });
  }
  if (agent.spec !== undefined) {
    const spec = Object.assign(create(AgentSpecSchema), agent.spec);
    spec.annotations = {};
    spec.activities = [];
    spec.capabilities = spec.capabilities.map((each) =>
      each.description === '' && each.tags.length === 0
        ? each
        : Object.assign({}, each, { description: '', tags: [], inputTypes: [], outputTypes: [] }),
    );
    agent.spec = spec;
  }
  return agent;
}
