import { create } from '@bufbuild/protobuf';
import { AgentSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentChange,
  AgentChange_Type,
  AgentChangeSchema,
  type AgentSample,
  AgentSampleSchema,
  WatchAgentsResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { Observations, SeenReading } from '../../agent/observations.ts';
import { publicAgent } from '../../agent/record.ts';
import type { AgentCounts } from './agent-hub.ts';
import type { LiveNews, LivePart, PartContext } from './live-part.ts';

export interface NamedAgentsPartOptions extends PartContext {
  agentIds: readonly string[];
  clock: Clock;
  directory: AgentDirectory;
  observations: Pick<Observations, 'of' | 'isNews'>;
  counts: AgentCounts;
}

interface Told extends SeenReading {
  /** Of the record; undefined: it is not there. */
  revision: bigint | undefined;
  deliveries: number;
  tasks: number;
}

/** How soon a change is told. */
const LOOK_MS = 200;

/** A few agents with all that is known of them. Their readings come every interval, as silence tells on them too. */
export class NamedAgentsPart implements LivePart {
  readonly part = WatchLiveRequest_Part.AGENTS;
  readonly #options: NamedAgentsPartOptions;
  readonly #told = new Map<string, Told>();
  #lookMs = 0;
  #samplesMs = 0;

  constructor(options: NamedAgentsPartOptions) {
    this.#options = options;
  }

  take(): LiveNews | undefined {
    const nowMs = this.#options.clock.monoMs();
    if (nowMs < this.#lookMs) return undefined;
    const isFirst = this.#told.size === 0;
    this.#lookMs = nowMs + LOOK_MS;
    const changes = this.#options.agentIds.flatMap((id) => this.#change(id));
    const samples: AgentSample[] = [];
    if (nowMs >= this.#samplesMs) {
      this.#samplesMs = nowMs + this.#options.intervalMs;
      samples.push(...this.#options.agentIds.flatMap((id) => this.#sample(id)));
    }
    if (changes.length + samples.length === 0 && !isFirst) return undefined;
    const value = create(WatchAgentsResponseSchema, { changes, samples, synced: true });
    return { case: 'agents', value };
  }

  dueMs(): number {
    return this.#lookMs;
  }

  close(): void {}

  #change(id: string): AgentChange[] {
    const { namespace, directory } = this.#options;
    const known = directory.get(namespace, id);
    let told = this.#told.get(id);
    if (told === undefined) {
      told = { revision: undefined, epoch: 0n, beats: -1, attached: false, deliveries: 0, tasks: 0 };
      this.#told.set(id, told);
    }
    if (known?.revision === told.revision) return [];
    told.revision = known?.revision;
    const agent =
      known === undefined
        ? create(AgentSchema, { namespace, id })
        : publicAgent(known.record, known.revision, undefined);
    const type = known === undefined ? AgentChange_Type.REMOVED : AgentChange_Type.UPSERTED;
    return [create(AgentChangeSchema, { type, agent })];
  }

  #sample(agentId: string): AgentSample[] {
    const { namespace, directory, observations, counts } = this.#options;
    const known = directory.get(namespace, agentId);
    const told = this.#told.get(agentId);
    if (known === undefined || told === undefined) return [];
    const pendingDeliveries = counts.deliveries(namespace, agentId);
    const tasks = counts.tasks(namespace, agentId);
    const isSame = told.deliveries === pendingDeliveries && told.tasks === tasks;
    // Without a session nothing is measured: only what came before is told, once.
    if (!observations.isNews(known, told) && !told.attached && isSame) return [];
    told.deliveries = pendingDeliveries;
    told.tasks = tasks;
    const sample = create(AgentSampleSchema, { agentId, pendingDeliveries, tasks });
    const observation = observations.of(known);
    if (observation !== undefined) sample.observation = observation;
    return [sample];
  }
}
