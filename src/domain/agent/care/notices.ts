import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { DeliveriesConfig } from '../../../config/config.ts';
import type { Check, Commit, Store } from '../../../state/store.ts';
import { isMailKey, mailOf } from '../../coordination/delivery-record.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { AgentDirectory, KnownAgent } from '../directory.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from '../record.ts';
import { careCommand } from './commands.ts';
import { isReachable } from './needs.ts';
import type { Dependents } from './relations.ts';

export interface NoticesOptions {
  store: Store;
  directory: AgentDirectory;
  dependents: Dependents;
  events: EventWriter;
  deliveries: DeliveriesConfig;
  mailboxFull(namespace: string, agentId: string): boolean;
}

/** Deliveries in one commit. */
const CHUNK = 256;
/** A notice that nobody took by then is old news. */
const EXPIRE_MS = 300_000;
/** Notices that are there already (a crash came before the last commit) are left out one by one, so often at most. */
const MAX_TRIES = 2 * CHUNK;

type Put = NonNullable<Commit['puts']>[number];

/** Tells the agents that depend on another one that it is lost, or back. */
export class Notices {
  readonly #options: NoticesOptions;

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /**
   * The last commit marks the agent as told of; until then it is done again, with the same deliveries.
   * @returns the key whose check failed, if one of `guards` did or the agent has changed
   */
  async tell(
    known: KnownAgent,
    what: 'lost' | 'recovered',
    guards: readonly Check[],
    storeMs: number,
  ): Promise<string | undefined> {
    const { events } = this.#options;
    const { namespace, record } = known;
    const { puts, skipped } = this.#puts(known, what, storeMs);
    const marked = copyRecord(record);
    marked.lossToldEpoch = what === 'lost' ? record.sessionEpoch : 0n;
    const checks = [...guards, { key: agentKey(known.id), revision: known.revision }];
    for (let from = 0; from + CHUNK < puts.length; from += CHUNK) {
      const failed = await this.#commit({ namespace, checks, puts: puts.slice(from, from + CHUNK) });
      if (failed !== undefined) return failed;
    }
    const last = puts.slice(puts.length - (puts.length % CHUNK || Math.min(CHUNK, puts.length)));
    const words = what === 'lost' ? 'that it is lost' : 'that it is back';
    const full = skipped === 0 ? '' : `; the mailboxes of ${skipped} were full`;
    const event = events.append({
      type: 'agent.dependents_told',
      severity: Event_Severity.INFO,
      message: `${puts.length} agents that depend on ${known.id} were told ${words}${full}`,
      actor: `rule:dependency_${what}`,
      agentId: known.id,
      attributes: { told: `${puts.length}`, skipped: `${skipped}`, epoch: `${record.sessionEpoch}` },
    });
    return this.#commit({
      namespace,
      checks,
      puts: [...last, { key: agentKey(known.id), value: encodeRecord(marked) }],
      // Nobody was there to be told: the mark alone.
      appends: puts.length + skipped === 0 ? [] : [event],
    });
  }

  #puts(known: KnownAgent, what: 'lost' | 'recovered', storeMs: number): { puts: Put[]; skipped: number } {
    const { dependents, directory, deliveries, mailboxFull } = this.#options;
    const { namespace, record } = known;
    const agent = agentOf(record);
    const epoch = what === 'lost' ? record.sessionEpoch : record.lossToldEpoch;
    const puts: Put[] = [];
    let skipped = 0;
    for (const id of [...dependents.of(namespace, known.id)].sort()) {
      const dependent = directory.get(namespace, id);
      if (dependent === undefined || !isReachable(agentOf(dependent.record))) continue;
      if (mailboxFull(namespace, id)) {
        skipped += 1;
        continue;
      }
      const { put } = careCommand(deliveries, {
        cause: [agent.uid, epoch, what, id],
        type: `dependency_${what}`,
        agentId: id,
        subjectAgentId: known.id,
        arguments: {
          agent_id: known.id,
          rule: agent.verdict?.rule ?? '',
          detail: agent.verdict?.detail ?? '',
        },
        actor: `rule:dependency_${what}`,
        storeMs,
        expireAfterMs: EXPIRE_MS,
      });
      puts.push(put);
    }
    return { puts, skipped };
  }

  /** Never writes over a delivery that is under way: its attempts would be counted anew. */
  async #commit(commit: Commit): Promise<string | undefined> {
    let puts = commit.puts ?? [];
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const absent = puts.filter(({ key }) => isMailKey(key)).map(({ key }) => ({ key, revision: 0n }));
      const outcome = await this.#options.store.commit({
        ...commit,
        checks: [...(commit.checks ?? []), ...absent],
        puts,
      });
      if (outcome.kind !== 'conflict') return undefined;
      if (!isMailKey(outcome.key)) return outcome.key;
      const { agentId } = mailOf(outcome.key);
      puts = puts.filter(({ key }) => !isMailKey(key) || mailOf(key).agentId !== agentId);
    }
    return undefined;
  }
}
