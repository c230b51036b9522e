import { create, toJsonString } from '@bufbuild/protobuf';
import {
  type Agent,
  Agent_Liveness,
  AgentSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { decodeDelivery } from '../../../src/domain/coordination/delivery-record.ts';
import type { Clients } from '../clients.ts';
import type { LogLine } from '../service.ts';
import { pause, until } from '../until.ts';
import { deadMessages } from './dead-messages.ts';
import { EventBook } from './event-book.ts';
import type { FaultRig } from './rig.ts';
import { strain } from './strain.ts';

/** Everybody is attached again so long after the last fault, milliseconds, on a machine that has the CPU for it. */
const ATTACHED_MS = 15_000;
/** And everything that was ordered is over so long after that. */
const FINISHED_MS = 20_000;
const AGREED_MS = 10_000;
/** Everything is well for so long before what is written, sent and called ends. */
const CALM_MS = 300;

/** Of what is in mailboxes, a few. */
const MAIL = { prefix: 'mail/', limit: 5 };

/** What must hold after each round. Every method returns what does not, in words. */
export class Checks {
  readonly events = new EventBook();
  readonly #rig: FaultRig;

  constructor(rig: FaultRig) {
    this.#rig = rig;
  }

  /** Waits until the fleet is as before; returns how long that took, milliseconds. */
  async settled(): Promise<{ attachedMs: number; finishedMs: number }> {
    const rig = this.#rig;
    const healedMs = performance.now();
    const since = () => Math.round(performance.now() - healedMs);
    for (const { clients } of rig.replicas) {
      const left = Math.max(1, ATTACHED_MS * strain() - since());
      const absent = () => absentAgents(clients, rig.agents.length);
      const nobody = (ids: readonly string[]) => ids.length === 0;
      const limits = { what: 'nobody to be absent', timeoutMs: left, everyMs: 50 };
      await until(absent, nobody, limits).catch((error: unknown) => {
        const away = rig.agents.filter(({ epoch }) => epoch === 0n).map(({ told }) => told);
        throw new Error(`${String(error)}; ${away.length} are away: ${away.slice(0, 5).join('\n')}`);
      });
    }
    const attachedMs = since();
    for (const caller of rig.callers) caller.calm();
    await pause(CALM_MS);
    await Promise.all([...rig.writers, ...rig.couriers, ...rig.callers].map((each) => each.stop()));
    // What was acknowledged last may not have reached a replica's views yet.
    const { reader } = rig;
    if (reader !== undefined) {
      const last = () => reader.store.position('default');
      const { revision: minRevision } = await until(last, Boolean, { what: 'the store to be read' });
      for (const { clients } of rig.replicas) {
        const seen = () => clients.agents.listAgents({ pageSize: 1, minRevision }, { timeoutMs: 2_000 });
        await until(seen, Boolean, {
          what: 'a replica to know what is stored',
          timeoutMs: AGREED_MS * strain(),
        });
      }
    }
    const unfinished = async () => {
      const busy = rig.agents.filter((agent) => agent.busy).map(({ id }) => id);
      const pending = rig.replicas.map(async ({ clients }) => {
        const { status } = await clients.monitoring.getSystemStatus({}, { timeoutMs: 2_000 });
        return (status?.pendingDeliveries ?? -1) + (status?.store?.pendingVerdicts ?? -1);
      });
      return { busy, pending: await Promise.all(pending) };
    };
    await until(
      unfinished,
      ({ busy, pending }) => busy.length === 0 && pending.every((count) => count === 0),
      { what: 'all orders to be over', timeoutMs: FINISHED_MS * strain(), everyMs: 50 },
    ).catch(async (error: unknown) => {
      throw new Error(`${String(error)}; ${(await this.#unfinished()).join('\n')}`);
    });
    return { attachedMs, finishedMs: since() };
  }

  /** Both replicas say the same of all agents, and it is what the agents say themselves. */
  async agreement(): Promise<string[]> {
    const { replicas, agents } = this.#rig;
    const look = async (): Promise<string[]> => {
      const [first, second = first] = replicas.map(({ clients }) => clients);
      if (first === undefined || second === undefined) return ['there is no replica'];
      const ahead = await list(first, 0n);
      const one = await list(second, ahead.revision);
      const other = await list(first, one.revision);
      const told = new Map(other.agents.map((agent) => [agent.id, recordOf(agent)]));
      const differ = one.agents.filter((agent) => told.get(agent.id) !== recordOf(agent));
      const wrong = differ.map((agent) => `${recordOf(agent)} is also ${told.get(agent.id)}`);
      if (one.agents.length !== other.agents.length) {
        wrong.push(`${one.agents.length} agents are also ${other.agents.length}`);
      }
      for (const list of [one, other]) {
        const byId = new Map(list.agents.map((agent) => [agent.id, agent.observation]));
        for (const agent of agents) {
          const { sessionEpoch = 0n, replicaId = '' } = byId.get(agent.id) ?? {};
          // The reading of a session that the store has lost, flushed after that, stands until the next attachment.
          const isLost = agent.records.forgiving && sessionEpoch > agent.epoch;
          if (!isLost && (sessionEpoch !== agent.epoch || replicaId !== agent.replicaId)) {
            const seen = `${sessionEpoch} at ${replicaId}`;
            wrong.push(`${agent.id} has session ${agent.epoch} at ${agent.replicaId}, they say ${seen}`);
          }
        }
      }
      const held = replicas.map(async ({ clients }) => {
        const { status } = await clients.monitoring.getSystemStatus({});
        return status?.replica?.sessions ?? -1;
      });
      const sessions = (await Promise.all(held)).reduce((sum, count) => sum + count, 0);
      if (sessions !== agents.length) wrong.push(`${sessions} sessions of ${agents.length} agents`);
      return wrong;
    };
    let last: string[] = [];
    const agreed = async () => {
      last = await look();
      return last.length === 0;
    };
    await until(agreed, Boolean, { timeoutMs: AGREED_MS * strain(), everyMs: 100 }).catch(
      (error: unknown) => {
        if (last.length === 0) last.push(String(error));
      },
    );
    return last;
  }

  /** Every acknowledged registration and update is there. */
  async acknowledgedWrites(): Promise<string[]> {
    const { acknowledged, replicas } = this.#rig;
    const missing: string[] = [];
    for (const { clients } of replicas) {
      const { agents } = await list(clients, 0n);
      const found = new Map(agents.map((agent) => [agent.id, agent]));
      for (const [id, uid] of acknowledged.agents) {
        if (found.get(id)?.uid !== uid)
          missing.push(`${id} was registered as ${uid}, not ${found.get(id)?.uid}`);
      }
      for (const [id, { n, revision }] of acknowledged.labels) {
        const agent = found.get(id);
        const label = agent?.spec?.labels.n;
        if (label !== `${n}` || (agent?.revision ?? 0n) < revision) {
          missing.push(`${id} has n=${label} at ${agent?.revision}, not ${n} from ${revision}`);
        }
      }
    }
    return missing;
  }

  /** Every order came to one end, which its agent brought about; nothing was judged twice. */
  async history(): Promise<string[]> {
    const { acknowledged, agents, replicas, reader } = this.#rig;
    const [replica] = replicas;
    if (replica !== undefined) await this.events.read(replica.clients);
    const { outcomes, orders } = this.events;
    const wrong = this.events.judgedTwice();
    for (const [requestId, { deliveryId, agentId }] of acknowledged.orders) {
      const ends = (outcomes.get(deliveryId) ?? []).map(({ type }) => type);
      if (ends.length !== 1) {
        const found = await this.#whereIs(agentId, deliveryId);
        wrong.push(`${deliveryId} of ${agentId} has the outcomes [${ends.join()}]: ${found}`);
      }
      if (orders.get(requestId) !== 1) wrong.push(`${requestId} was ordered ${orders.get(requestId)} times`);
    }
    const byId = new Map(agents.map((agent) => [agent.id, agent.records]));
    for (const [deliveryId, [event]] of outcomes) {
      if (event?.type !== 'command.succeeded') continue;
      const book = byId.get(event.attributes.by ?? '')?.deliveries.get(deliveryId);
      const finished = reader?.finished.get(deliveryId);
      if (book === undefined || book.said.size === 0) wrong.push(`nobody did ${deliveryId}`);
      else if (finished !== undefined && !book.said.has(finished.attempt)) {
        wrong.push(
          `${deliveryId} ended with attempt ${finished.attempt}, done were ${[...book.said].join()}`,
        );
      }
    }
    for (const { records } of agents) {
      const byReason = new Map<string, string>();
      for (const [deliveryId, { stored, reason }] of records.deliveries) {
        if (reason === undefined) continue;
        const ends = outcomes.get(deliveryId) ?? [];
        if (stored.size > 0 && (ends.length !== 1 || ends[0]?.type !== 'command.succeeded')) {
          wrong.push(`${deliveryId} was stored as done, and has ${ends.length} outcomes`);
        }
        const other = byReason.get(reason);
        if (other !== undefined) wrong.push(`${reason} was delivered as ${other} and as ${deliveryId}`);
        byReason.set(reason, deliveryId);
      }
      for (const { epoch, replicaId } of records.sessions) {
        const verdicts = this.events.verdicts.get(`${records.agentId} ${epoch}`) ?? [];
        const [first] = verdicts;
        if (first?.replicaId !== replicaId) wrong.push(`session ${epoch} at ${replicaId} has no event`);
      }
    }
    return wrong;
  }

  /** Every acknowledged message came, or is a dead letter with its reason, in order, and as one. After history(). */
  async messages(): Promise<string[]> {
    const { agents, messages, replicas } = this.#rig;
    const [replica] = replicas;
    if (replica === undefined) return ['there is no replica'];
    const records = new Map(agents.map((agent) => [agent.id, agent.records]));
    const dead = await deadMessages(replica.service.grpc);
    return messages.wrong({ records, dead, movedFrom: this.events.takeMovedFrom() });
  }

  /** What agents, writers and the reader of the log saw that must not be; each is told once. */
  seen(): string[] {
    const { agents, acknowledged, messages, reader, replicas } = this.#rig;
    const faults = [
      ...agents.map(({ records }) => records.faults),
      ...[acknowledged.faults, messages.faults, reader?.faults ?? []],
    ];
    const isBad = ({ level, msg }: LogLine) =>
      // A replica that starts while Redis is away says so, and tries again.
      (level === 'error' || level === 'fatal') && !msg.startsWith('cannot use Redis');
    const said = replicas.flatMap(({ service }) => [
      ...service.logs.filter(isBad).map((line) => JSON.stringify(line)),
      ...service.plain,
    ]);
    const fresh = said.slice(this.#told);
    this.#told = said.length;
    return [...faults.flatMap((list) => list.splice(0)), ...fresh];
  }

  #told = 0;

  /** What still is in mailboxes, a few. */
  async #unfinished(): Promise<string[]> {
    const busy = this.#rig.agents.filter((agent) => agent.busy).map((agent) => agent.told);
    const { entries } = (await this.#rig.reader?.store.scan('default', MAIL)) ?? { entries: [] };
    const looks = entries.map(async ({ key, value }) => {
      const [, agentId = '', deliveryId = ''] = key.split('/');
      const { attempt, accepted, sessionEpoch, tries } = decodeDelivery(value);
      const state = `attempt ${attempt} for ${sessionEpoch}, ${accepted ? 'accepted' : 'unanswered'}, tries ${tries}`;
      return `${key} (${state}): ${await this.#whereIs(agentId, deliveryId)}`;
    });
    return [...busy.slice(0, 5), ...(await Promise.all(looks))];
  }

  /** What is known of a delivery, for whoever looks for its end. */
  async #whereIs(agentId: string, deliveryId: string): Promise<string> {
    const { agents, reader } = this.#rig;
    const book = agents.find(({ id }) => id === agentId)?.records.deliveries.get(deliveryId);
    const [mail, dead] = await Promise.all(
      ['mail', 'dead'].map((kind) => reader?.store.get('default', `${kind}/${agentId}/${deliveryId}`)),
    );
    const finished = reader?.finished.get(deliveryId);
    return [
      book?.story.join('; ') ?? 'it never came',
      `in the mailbox at ${mail?.revision}, dead at ${dead?.revision}, ended with ${finished?.attempt}`,
    ].join('; ');
  }
}

/** The stored part of an agent: what is measured differs from moment to moment. */
function recordOf(agent: Agent): string {
  const { observation: _, ...record } = agent;
  return toJsonString(AgentSchema, create(AgentSchema, { ...record }));
}

async function list(clients: Clients, minRevision: bigint): Promise<{ agents: Agent[]; revision: bigint }> {
  const agents: Agent[] = [];
  let revision = 0n;
  let pageToken = '';
  do {
    const request = { pageSize: 1000, pageToken, minRevision };
    const page = await clients.agents.listAgents(request, { timeoutMs: 5_000 });
    agents.push(...page.agents);
    revision = page.revision;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return { agents, revision };
}

/** Ids of agents that are registered for sessions and not CONNECTED, or how many are missing. */
async function absentAgents(clients: Clients, expected: number): Promise<string[]> {
  const filter = { liveness: [Agent_Liveness.CONNECTED] };
  const { totalSize } = await clients.agents.listAgents({ filter, pageSize: 1 }, { timeoutMs: 2_000 });
  return totalSize === expected ? [] : [`${totalSize} of ${expected} are connected`];
}
