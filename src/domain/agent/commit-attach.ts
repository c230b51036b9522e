import type { Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Hello } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { AgentRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Store } from '../../state/store.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { EventWriter } from '../monitoring/events.ts';
import { decideAttach } from './attach.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { agentNotFound, contention, notResponsible } from './errors.ts';
import { loadAgent } from './load.ts';
import { agentKey, agentOf, encodeRecord } from './record.ts';
import { knowsToken, type TokenClaim } from './token.ts';

export interface CommitAttachOptions {
  store: Store;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  events: EventWriter;
  replicaId: string;
  wallMs: () => number;
  /** The store's clock, as far as is known without asking. */
  storeMs: () => number;
  /** The condition of this replica, as evidence. */
  observer(namespace: string, agentId: string): Verdict['observer'];
  /** Whether this replica looks after the agent (the configured relationships). */
  responsibleFor(known: KnownAgent): boolean;
}

const ATTEMPTS = 8;

/**
 * Stores an attachment: reads, decides, commits, and again if somebody else wrote meanwhile.
 * @throws DomainError AGENT_NOT_FOUND, TOKEN_INVALID, AGENT_STOPPED, NOT_RESPONSIBLE, CONTENTION;
 * StoreUnavailableError
 */
export async function commitAttach(
  options: CommitAttachOptions,
  claim: TokenClaim,
  tokenHash: Uint8Array,
  hello: Hello,
  peer: string,
): Promise<{ record: AgentRecord; revision: bigint }> {
  const { store, directory, mailboxes, events, replicaId, wallMs, storeMs } = options;
  const { namespace, agentId } = claim;
  let known = directory.get(namespace, agentId);
  // A record that this replica has not heard of yet, or whose token is newer than what it knows.
  if (known === undefined || !knowsToken(known.record.tokenHashes, tokenHash)) {
    known = await loadAgent(store, namespace, agentId);
  }
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (known === undefined) throw agentNotFound(namespace, agentId);
    if (!options.responsibleFor(known)) throw notResponsible(agentId);
    const { epoch } = store.status();
    const { restart } = agentOf(known.record);
    const decided = decideAttach({
      record: known.record,
      tokenHash,
      hello,
      peer,
      replicaId,
      wallMs: wallMs(),
      storeMs: storeMs(),
      storeEpoch: epoch,
      restartOrder: restart && mailboxes.get(namespace, restart.byAgentId, restart.deliveryId)?.record,
      observer: options.observer(namespace, agentId),
    });
    const outcome = await store.commit({
      namespace,
      epoch,
      checks: [{ key: agentKey(agentId), revision: known.revision }],
      puts: [{ key: agentKey(agentId), value: encodeRecord(decided.record) }],
      deletes: decided.deletes,
      appends: decided.events.map((event) => events.append(event)),
    });
    if (outcome.kind === 'committed') return { record: decided.record, revision: outcome.revision };
    known = await loadAgent(store, namespace, agentId);
  }
  throw contention();
}
