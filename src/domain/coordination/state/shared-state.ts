import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type CommitStateRequest,
  CommitStateRequestSchema,
  type CommitStateResponse,
  CommitStateResponseSchema,
  type GetStateRequest,
  type GetStateResponse,
  GetStateResponseSchema,
  type ListStateRequest,
  type ListStateResponse,
  ListStateResponseSchema,
  type StateEntry,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { decodePageToken, encodePageToken, fingerprint } from '../../../lib/page-token.ts';
import type { Entry, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention, invalidFields } from '../../agent/errors.ts';
import { agentKey } from '../../agent/record.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { sessionCaller } from '../bindings.ts';
import { decideStateCommit, type StateCommitEffects } from './state-commit.ts';
import { hasExpired, keyOfState, publicEntry, STATE_PREFIX, stateKey } from './state-record.ts';

export interface SharedStateOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
}

const ATTEMPTS = 8;
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** Entries that agents and operators share: reads and writes go to the store itself. */
export class SharedState {
  readonly #options: SharedStateOptions;

  constructor(options: SharedStateOptions) {
    this.#options = options;
  }

  /** @throws DomainError STATE_NOT_FOUND; StoreUnavailableError */
  async get(request: GetStateRequest): Promise<GetStateResponse> {
    const { store, storeTime } = this.#options;
    const namespace = namespaceOf(request);
    const found = await store.get(namespace, stateKey(request.key));
    const entry = found && shown(namespace, found);
    if (entry === undefined || hasExpired(entry, storeTime.ms())) {
      throw new DomainError({
        reason: ErrorReason.STATE_NOT_FOUND,
        message: `there is no entry ${request.key} in namespace ${namespace}`,
      });
    }
    return create(GetStateResponseSchema, { entry });
  }

  /** @throws DomainError INVALID_FIELDS (page token); StoreUnavailableError */
  async list(request: ListStateRequest): Promise<ListStateResponse> {
    const { store, storeTime } = this.#options;
    const namespace = namespaceOf(request);
    const print = fingerprint([namespace, request.prefix]);
    const size = request.pageSize === 0 ? DEFAULT_PAGE : Math.min(MAX_PAGE, request.pageSize);
    const after = request.pageToken === '' ? undefined : afterOf(request.pageToken, print);
    const page = await store.scan(namespace, {
      prefix: STATE_PREFIX + request.prefix,
      limit: size,
      ...(after === undefined ? {} : { after: stateKey(after) }),
    });
    const storeMs = storeTime.ms();
    const last = page.entries.at(-1);
    return create(ListStateResponseSchema, {
      entries: page.entries
        .map((entry) => shown(namespace, entry))
        .filter((entry) => !hasExpired(entry, storeMs)),
      nextPageToken:
        page.more && last !== undefined
          ? encodePageToken({ kind: 'state', fingerprint: print, after: keyOfState(last.key) })
          : '',
      revision: page.position.revision,
    });
  }

  /**
   * @throws DomainError REVISION_MISMATCH, EPOCH_STALE, SESSION_SUPERSEDED, TOKEN_INVALID, INVALID_FIELDS,
   * REQUEST_ID_REUSED, CONTENTION; StoreUnavailableError, StoreFullError
   */
  async commit(request: CommitStateRequest, caller: Caller): Promise<CommitStateResponse> {
    const { store, storeTime, directory } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'CommitState',
      requestId: request.requestId,
      input: { schema: CommitStateRequestSchema, message: request },
      output: CommitStateResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return answer(earlier.revision);
    const bound = request.writes.some(({ bindToSession }) => bindToSession);
    if (bound && request.sessionEpoch === 0n) {
      const description = 'must be given where a write has bind_to_session';
      throw invalidFields(`session_epoch ${description}`, [{ field: 'session_epoch', description }]);
    }
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const session = await sessionCaller(store, namespace, caller, request.sessionEpoch);
      const present = await this.#present(namespace, request);
      const storeMs = await storeTime.exact();
      let decided: StateCommitEffects;
      try {
        decided = decideStateCommit({
          writes: request.writes,
          present,
          binding: session?.binding,
          actor: actorOf(caller, directory),
          storeMs,
        });
      } catch (error) {
        // What is not as expected may be what an earlier try of this request wrote since that was looked for.
        const since = await mutation.earlier();
        if (since !== undefined) return answer(since.revision);
        throw error;
      }
      const { checks, puts, deletes } = decided;
      if (session !== undefined) {
        checks.push({ key: agentKey(session.known.id), revision: session.known.revision });
      }
      const commit = {
        namespace,
        checks,
        puts,
        deletes,
        ...mutation.record(create(CommitStateResponseSchema)),
      };
      const outcome = await store.commit(commit);
      if (outcome.kind === 'repeated') return answer(mutation.repeated(outcome).revision);
      if (outcome.kind === 'committed') return answer(outcome.revision);
    }
    throw contention();
  }

  /** The entries that a decision rests on: those with an expectation, and those that are written anew. */
  async #present(namespace: string, { writes }: CommitStateRequest): Promise<Map<string, Entry>> {
    const found = await Promise.all(
      writes.map(({ key }) => this.#options.store.get(namespace, stateKey(key))),
    );
    return new Map(found.flatMap((entry) => (entry === undefined ? [] : [[entry.key, entry] as const])));
  }
}

const shown = (namespace: string, { key, value, revision }: Entry): StateEntry =>
  publicEntry(namespace, keyOfState(key), value, revision);

const answer = (revision: bigint): CommitStateResponse => create(CommitStateResponseSchema, { revision });

function afterOf(token: string, print: string): string {
  const decoded = decodePageToken(token, { kind: 'state', fingerprint: print });
  if (decoded.kind === 'token') return decoded.after;
  throw invalidFields(`page_token ${decoded.description}`, [
    { field: 'page_token', description: decoded.description },
  ]);
}
