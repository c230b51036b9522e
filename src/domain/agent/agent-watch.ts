import { create } from '@bufbuild/protobuf';
import { AgentSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentChange,
  AgentChange_Type,
  AgentChangeSchema,
  AgentSampleSchema,
  type WatchAgentsRequest,
  type WatchAgentsResponse,
  WatchAgentsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { encodeCursor } from '../../lib/cursor.ts';
import { msFromDuration } from '../../lib/proto-time.ts';
import type { ChangeBatch, Position } from '../../state/store.ts';
import type { Views } from '../../state/views.ts';
import { cursorPosition } from '../cursors.ts';
import { namespaceOf } from '../namespaces.ts';
import { compileAgentFilter } from './agent-filter.ts';
import type { AgentReader } from './agent-reader.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import type { Observations } from './observations.ts';
import { agentIdOf, agentOf, decodeRecord, isAgentKey, publicAgent } from './record.ts';

export interface AgentWatchOptions {
  views: Views;
  directory: AgentDirectory;
  reader: AgentReader;
  observations: Observations;
}

const MAX_CHANGES = 256;
/** Without changes the cursor is renewed this often, so that it does not age out of the log. */
const PROGRESS_MS = 60_000;

/** Follows the agents of one namespace for one caller. */
export async function* watchAgents(
  request: WatchAgentsRequest,
  signal: AbortSignal,
  options: AgentWatchOptions,
): AsyncGenerator<WatchAgentsResponse, void, undefined> {
  const { views, directory } = options;
  const namespace = namespaceOf(request);
  const selection = new Selection(request, namespace);
  const resumed = request.cursor !== '';
  const from = resumed ? cursorPosition(request.cursor, namespace) : views.position(namespace);
  if (!resumed) {
    const changes: AgentChange[] = [];
    for (const known of directory.all(namespace)) {
      const change = selection.upserted(known);
      if (change !== undefined) changes.push(change);
    }
    for (let at = 0; at < changes.length; at += MAX_CHANGES) {
      yield response({ changes: changes.slice(at, at + MAX_CHANGES), cursor: '', synced: false });
    }
  }
  const tickMs = request.sampleInterval === undefined ? PROGRESS_MS : msFromDuration(request.sampleInterval);
  let position = from;
  let synced = false;
  for await (const event of views.follow(namespace, from, signal, tickMs)) {
    if (event === 'synced') {
      synced = true;
      yield response({ changes: [], cursor: cursorOf(namespace, position), synced });
    } else if (event === 'tick') {
      yield* tick(request, namespace, selection, options, position);
    } else {
      position = { epoch: event.epoch, revision: event.revision };
      const changes = selection.changes(event, resumed);
      for (let at = 0; at < changes.length; at += MAX_CHANGES) {
        const last = at + MAX_CHANGES >= changes.length;
        const cursor = last ? cursorOf(namespace, position) : '';
        yield response({ changes: changes.slice(at, at + MAX_CHANGES), cursor, synced });
      }
    }
  }
}

function* tick(
  request: WatchAgentsRequest,
  namespace: string,
  selection: Selection,
  options: AgentWatchOptions,
  position: Position,
): Generator<WatchAgentsResponse> {
  const samples = [];
  if (request.sampleInterval !== undefined) {
    for (const known of options.directory.all(namespace)) {
      if (!selection.has(known.id)) continue;
      const observation = options.observations.of(known);
      if (
        observation === undefined ||
        !selection.isNews(known.id, observation.heartbeats, observation.sessionEpoch)
      )
        continue;
      samples.push(create(AgentSampleSchema, { agentId: known.id, observation }));
    }
  }
  const cursor = cursorOf(namespace, position);
  if (samples.length === 0) yield response({ changes: [], cursor, synced: true });
  for (let at = 0; at < samples.length; at += MAX_CHANGES) {
    yield create(WatchAgentsResponseSchema, {
      samples: samples.slice(at, at + MAX_CHANGES),
      cursor,
      synced: true,
    });
  }
}

/** What the caller selects, and which agents it was told of. */
class Selection {
  readonly #matches: ReturnType<typeof compileAgentFilter>;
  readonly #namespace: string;
  readonly #told = new Set<string>();
  readonly #sampled = new Map<string, string>();

  constructor(request: WatchAgentsRequest, namespace: string) {
    this.#matches = compileAgentFilter(request.filter);
    this.#namespace = namespace;
  }

  has(agentId: string): boolean {
    return this.#told.has(agentId);
  }

  isNews(agentId: string, heartbeats: bigint, epoch: bigint): boolean {
    const reading = `${epoch}/${heartbeats}`;
    if (this.#sampled.get(agentId) === reading) return false;
    this.#sampled.set(agentId, reading);
    return true;
  }

  upserted(known: Pick<KnownAgent, 'id' | 'record' | 'revision'>): AgentChange | undefined {
    if (!this.#matches(agentOf(known.record))) return undefined;
    this.#told.add(known.id);
    const agent = publicAgent(known.record, known.revision, undefined);
    return create(AgentChangeSchema, { type: AgentChange_Type.UPSERTED, agent });
  }

  /** `resumed`: the caller may know agents that it was told of before; what no longer matches is removed. */
  changes(batch: ChangeBatch, resumed: boolean): AgentChange[] {
    const changes: AgentChange[] = [];
    for (const change of batch.changes) {
      if (!isAgentKey(change.key)) continue;
      const id = agentIdOf(change.key);
      const upserted =
        change.value === undefined
          ? undefined
          : this.upserted({ id, record: decodeRecord(change.value), revision: batch.revision });
      if (upserted !== undefined) {
        changes.push(upserted);
      } else if (this.#told.delete(id) || resumed) {
        this.#sampled.delete(id);
        const agent = create(AgentSchema, { namespace: this.#namespace, id, revision: batch.revision });
        changes.push(create(AgentChangeSchema, { type: AgentChange_Type.REMOVED, agent }));
      }
    }
    return changes;
  }
}

const cursorOf = (namespace: string, position: Position): string => encodeCursor({ namespace, ...position });

function response(news: { changes: AgentChange[]; cursor: string; synced: boolean }): WatchAgentsResponse {
  return create(WatchAgentsResponseSchema, news);
}
