import { create } from '@bufbuild/protobuf';
import type { Agent, AgentSpec } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentFilter,
  type ListAgentsRequest,
  type ListAgentsResponse,
  ListAgentsResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import { decodePageToken, encodePageToken, fingerprint } from '../../lib/page-token.ts';
import { msFromDuration } from '../../lib/proto-time.ts';
import type { Views } from '../../state/views.ts';
import { namespaceOf } from '../namespaces.ts';
import { compileAgentFilter, filterFingerprint } from './agent-filter.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { agentNotFound } from './errors.ts';
import type { Observations } from './observations.ts';
import { agentOf, publicAgent } from './record.ts';
import type { VerdictWriter } from './verdict-writer.ts';

export interface AgentReaderOptions {
  views: Views;
  directory: AgentDirectory;
  observations: Observations;
  verdicts: VerdictWriter;
}

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** Reads agents from this replica's view. */
export class AgentReader {
  readonly #options: AgentReaderOptions;

  constructor(options: AgentReaderOptions) {
    this.#options = options;
  }

  /** The agent as callers see it: also with a verdict that still waits for the store. */
  present(known: KnownAgent): Agent {
    const agent = publicAgent(known.record, known.revision, this.#options.observations.of(known));
    const pending = this.#options.verdicts.pendingFor(known.namespace, known.id);
    if (pending?.liveness !== undefined && pending.epoch === known.record.sessionEpoch) {
      agent.liveness = pending.liveness;
      agent.verdict = pending.verdict;
    }
    return agent;
  }

  /** @throws DomainError AGENT_NOT_FOUND */
  get(namespace: string, agentId: string): Agent {
    const known = this.#options.directory.get(namespace, agentId);
    if (known === undefined) throw agentNotFound(namespace, agentId);
    return this.present(known);
  }

  list(request: ListAgentsRequest): ListAgentsResponse {
    const { directory, views } = this.#options;
    const namespace = namespaceOf(request);
    const print = fingerprint([namespace, filterFingerprint(request.filter)]);
    const after = request.pageToken === '' ? '' : pageAfter(request.pageToken, print);
    const size = request.pageSize === 0 ? DEFAULT_PAGE : Math.min(MAX_PAGE, request.pageSize);
    const matches = this.matcher(request.filter);
    const page: KnownAgent[] = [];
    let total = 0;
    let more = false;
    for (const id of directory.sortedIds(namespace)) {
      const known = directory.get(namespace, id);
      if (known === undefined || !matches(known)) continue;
      total += 1;
      if (id <= after) continue;
      if (page.length < size) page.push(known);
      else more = true;
    }
    const last = page.at(-1);
    return create(ListAgentsResponseSchema, {
      agents: page.map((known) => this.present(known)),
      nextPageToken:
        more && last !== undefined
          ? encodePageToken({ kind: 'agents', fingerprint: print, after: last.id })
          : '',
      revision: views.position(namespace).revision,
      totalSize: total,
    });
  }

  /** A filter over what is stored, with verdicts that still wait. */
  matcher(filter: AgentFilter | undefined): (known: KnownAgent) => boolean {
    const matches = compileAgentFilter(filter);
    if (this.#options.verdicts.size === 0) return (known) => matches(agentOf(known.record));
    return (known) => matches(this.present(known));
  }
}

function pageAfter(token: string, print: string): string {
  const decoded = decodePageToken(token, { kind: 'agents', fingerprint: print });
  if (decoded.kind === 'token') return decoded.after;
  throw new DomainError({
    reason: ErrorReason.INVALID_FIELDS,
    message: `page_token ${decoded.description}`,
    violations: [{ field: 'page_token', description: decoded.description }],
  });
}

/** The progress budget that an agent declared for an activity, or `defaultMs` (0: none). */
export function progressBudget(
  spec: AgentSpec | undefined,
  activity: string,
  defaultMs: number,
): number | undefined {
  const declared = spec?.activities.find(({ name }) => name === activity);
  if (declared !== undefined) {
    return declared.progressBudget === undefined ? undefined : msFromDuration(declared.progressBudget);
  }
  return defaultMs > 0 && activity !== '' ? defaultMs : undefined;
}
