import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Client as GrpcClient } from '@grpc/grpc-js';
import { expect } from 'vitest';
import {
  type Task,
  Task_StateSchema,
  TaskService,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  PendingReason,
  PendingReasonSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  Allocation_State,
  ResourceService,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { openLmdbStore } from '../../../src/state/lmdb/lmdb-store.ts';
import { describeFault, planRound } from '../faults/plan.ts';
import { type Random, seeded } from '../faults/random.ts';
import { FaultRig } from '../faults/rig.ts';
import { strain } from '../faults/strain.ts';
import type { LogLine } from '../service.ts';
import { grpcChannel } from '../sim-agent.ts';
import { pause, until } from '../until.ts';
import { Doors } from './doors.ts';
import { LedgerChecker } from './ledger-checker.ts';
import { TaskAgent } from './task-agent.ts';
import { TaskBook } from './task-book.ts';
import { TaskDriver } from './task-driver.ts';
import { agentSpec, OWNERS, quotaOf } from './world.ts';

export interface TaskRoundsOptions {
  rounds: number;
  seed: number;
  /** One replica with the embedded store, instead of two on Redis. */
  embedded: boolean;
  agents?: number;
}

const DRIVERS = 8;
const AGENTS_A_CHANNEL = 4;
const LEASE_MS = 1_500;
const ROUND_MS = 700;
/** Everything is let end, and judged, after so many rounds. */
const ROUNDS_A_DRAIN = 5;
const DRAIN_MS = 20_000;
/** Longer than a round of the care, which takes over what ended allocations have spent. */
const CARE_MS = 1_500;
const ENV: Record<string, string> = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '300ms',
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '1s',
  ORCHESTRATOR_SESSION_RECOVERY_GRACE: '1s',
  ORCHESTRATOR_DELIVERIES_ACCEPT_WITHIN: '700ms',
};

/** Plays rounds of faults under tasks of all kinds, and has the change log judged at every revision. */
export async function playTaskRounds({
  rounds,
  seed,
  embedded,
  agents = 14,
}: TaskRoundsOptions): Promise<void> {
  const name = embedded ? 'embedded' : 'redis';
  const random = seeded(seed).fork(name);
  const rig = await FaultRig.start({
    ...{ random: random.fork('rig'), agents: 0, embedded, leaseMs: LEASE_MS, env: ENV },
  });
  const play = new TaskPlay(rig, random);
  try {
    await play.begin(agents);
    for (let round = 1; round <= rounds; round += 1) {
      const fromMs = performance.now();
      const what = `seed ${seed}, ${name} ${round} of ${rounds}: ${await play.round(random.fork(`round ${round}`))}`;
      const drains = round === rounds || round % ROUNDS_A_DRAIN === 0;
      const wrong = drains
        ? await play.drain(round === rounds).catch((error: unknown) => [String(error)])
        : [];
      wrong.push(...(await play.seen()));
      expect(wrong.slice(0, 20), what).toEqual([]);
      console.info(what, Math.round(performance.now() - fromMs), 'ms', JSON.stringify(play.book.counts));
    }
  } finally {
    await play.stop();
    await rig.stop();
  }
}

class TaskPlay {
  readonly book = new TaskBook();
  readonly checker = new LedgerChecker();
  readonly #rig: FaultRig;
  readonly #random: Random;
  readonly #channels: GrpcClient[] = [];
  readonly #agents: TaskAgent[] = [];
  readonly #drivers: TaskDriver[] = [];
  readonly #doors: Doors;
  #told = 0;

  constructor(rig: FaultRig, random: Random) {
    this.#rig = rig;
    this.#random = random;
    this.#doors = this.#newDoors('play');
  }

  async begin(agents: number): Promise<void> {
    const random = this.#random;
    const { reader } = this.#rig;
    if (reader !== undefined) await this.checker.follow(reader.store);
    for (const owner of OWNERS) await this.#setQuota(owner, false);
    for (let at = 0; at < agents; at += AGENTS_A_CHANNEL) {
      const doors = this.#connect();
      for (let index = at; index < Math.min(agents, at + AGENTS_A_CHANNEL); index += 1) {
        const id = `agent-${index}`;
        const own = random.fork(id);
        const [replica] = this.#rig.replicas;
        const made = await replica?.clients.agents.registerAgent({
          agentId: id,
          spec: agentSpec(index, own),
        });
        const { book } = this;
        const token = made?.agentToken ?? '';
        this.#agents.push(new TaskAgent({ id, token, doors, random: own, patienceMs: LEASE_MS, book }));
      }
    }
    for (const agent of this.#agents) agent.start();
    await this.#attached();
    for (let index = 0; index < DRIVERS; index += 1) {
      const name = `d${index}`;
      const how = {
        name,
        doors: this.#newDoors(name),
        random: random.fork(name),
        book: this.book,
        pauseMs: 15,
      };
      this.#drivers.push(new TaskDriver(how));
    }
  }

  /** Everybody is busy while faults come and go. */
  async round(random: Random): Promise<string> {
    for (const driver of this.#drivers) driver.start();
    for (const { desk } of this.#agents) desk.diligent = false;
    const disturbing = setInterval(() => {
      const agent = random.pick(this.#agents);
      const draw = random.next();
      if (draw < 0.3) agent.crash();
      else if (draw < 0.6) agent.freeze(random.between(200, 2_500));
      else if (draw < 0.9) agent.vanish(Math.round(100 + 3_500 * random.next() ** 2));
    }, 120);
    try {
      const replicas = this.#rig.replicas.length;
      const of = this.#rig.options.embedded ? { of: 'service' as const } : {};
      const plan = planRound(random, { replicas, ...of, leastMs: 250, mostMs: 1_500 });
      await Promise.all([this.#rig.play(plan), pause(ROUND_MS)]);
      return plan.map(describeFault).join('; ');
    } finally {
      clearInterval(disturbing);
      await Promise.all(this.#drivers.map((driver) => driver.stop()));
    }
  }

  /** Lets everything end; returns what is wrong then. */
  async drain(last: boolean): Promise<string[]> {
    for (const { desk } of this.#agents) desk.diligent = true;
    await this.#attached();
    for (const owner of OWNERS) await this.#setQuota(owner, true);
    await this.#ended();
    await this.#catchUp(last);
    const { faults } = this.checker;
    const wrong = [...faults.splice(0), ...this.checker.finish(this.book.expected())];
    const named = [...this.checker.state.tasks.keys()].filter((id) =>
      wrong.some((text) => text.includes(id)),
    );
    wrong.splice(14, wrong.length, ...named.slice(0, 3).map((id) => `${id}: ${this.checker.story(id)}`));
    if (!last) for (const owner of OWNERS) await this.#setQuota(owner, false);
    return wrong;
  }

  /** What agents, drivers and services have to complain of; each is told once. */
  async seen(): Promise<string[]> {
    const isBad = ({ level, msg }: LogLine) =>
      // A replica that starts while Redis is away says so, and tries again.
      (level === 'error' || level === 'fatal') && !msg.startsWith('cannot use Redis');
    const said = this.#rig.replicas.flatMap(({ service }) => [
      ...service.logs.filter(isBad).map((line) => JSON.stringify(line)),
      ...service.plain,
    ]);
    const fresh = said.slice(this.#told);
    this.#told = said.length;
    return [...this.book.faults.splice(0), ...fresh];
  }

  async stop(): Promise<void> {
    this.#doors.stop();
    for (const agent of this.#agents) agent.close();
    for (const channel of this.#channels) channel.close();
  }

  /** Nothing is left that could run, be given back or be settled. */
  async #ended(): Promise<void> {
    const timeoutMs = DRAIN_MS * strain();
    const open = async (): Promise<Task[]> => {
      const answer = await this.#doors.need(TaskService.method.listTasks, { pageSize: 1000 });
      const { tasks } = answer;
      // What can never run is let go, once nothing else is left that could change that.
      const stuck = tasks.filter(({ pending }) => NEVER.has(pending?.reason ?? 0));
      const behind = tasks.filter(({ pending }) => pending?.reason === PendingReason.ORDERING_KEY);
      if (tasks.length > 0 && stuck.length + behind.length === tasks.length) {
        this.book.count('never', stuck.length);
        for (const { id } of stuck) await this.#doors.need(TaskService.method.cancelTask, { taskId: id });
      }
      return tasks;
    };
    let left: Task[] = [];
    const none = async () => {
      left = await open();
      return left.length;
    };
    await until(none, (count) => count === 0, { what: 'all tasks to end', timeoutMs, everyMs: 100 }).catch(
      (error: unknown) => {
        const away = this.#agents.map(({ told }) => told);
        throw new Error([String(error), ...left.slice(0, 8).map(describeTask), ...away].join('\n'));
      },
    );
    const held = async () => {
      const { allocations } = await this.#doors.need(ResourceService.method.listAllocations, {
        withTasks: true,
      });
      // A lease that ended while no replica was there has some grace.
      for (const { id, state } of allocations) {
        if (state !== Allocation_State.ACTIVE || id.startsWith('task/')) continue;
        await this.#doors.ask(ResourceService.method.releaseAllocation, { allocationId: id });
      }
      const { total, quotas } = await this.#doors.need(ResourceService.method.getUsage, {});
      return [
        ...allocations.map(({ id, state, expireTime, agentId }) => {
          const leftMs = expireTime === undefined ? 0 : timestampMs(expireTime) - Date.now();
          return `${id} ${state} on ${agentId}, for ${leftMs} ms`;
        }),
        ...total
          .filter(({ reserved }) => reserved !== 0n)
          .map(({ resource, reserved }) => `${reserved} ${resource}`),
        ...quotas.flatMap(({ owner, budgets }) =>
          budgets
            .filter(({ reserved }) => reserved !== 0n)
            .map(({ name, reserved }) => `${owner} ${reserved} ${name}`),
        ),
      ];
    };
    const what = 'everything to be given back';
    await until(held, (list) => list.length === 0, { what, timeoutMs, everyMs: 100 }).catch(
      (error: unknown) => {
        const said = this.#rig.replicas.flatMap(({ service }) => service.logs.slice(-8));
        throw new Error([String(error), ...said.map((line) => JSON.stringify(line))].join('\n'));
      },
    );
  }

  async #catchUp(last: boolean): Promise<void> {
    const { reader, replicas } = this.#rig;
    if (reader !== undefined) {
      const { revision } = await reader.store.position('default');
      const what = 'the log to be read';
      await until(
        () => this.checker.revision,
        (seen) => seen >= revision,
        { what },
      );
      // What ended allocations have spent is taken over within a round of the care.
      const unsettled = () => this.checker.state.ofBudgets.keys;
      const taken = { what: 'what was spent to be taken over', timeoutMs: 5_000 * strain() };
      await until(unsettled, (keys) => keys.length === 0, taken).catch(() => {});
      return;
    }
    const service = replicas[0]?.service;
    if (service === undefined) throw new Error('there is no service');
    await pause(CARE_MS);
    await service.kill('SIGKILL');
    const directory = service.store.slice('lmdb:'.length);
    const store = await openLmdbStore({
      directory,
      database: 'agents_db',
      clock: systemClock,
      log: silentLogger,
    });
    await this.checker.catchUp(store).finally(() => store.close());
    if (!last) await service.restart();
  }

  async #attached(): Promise<void> {
    const away = () => this.#agents.filter(({ attached }) => !attached).map(({ told }) => told);
    const timeoutMs = 15_000 * strain();
    await until(away, (list) => list.length === 0, { what: 'all agents to be attached', timeoutMs });
  }

  async #setQuota(owner: string, wide: boolean): Promise<void> {
    const quota = quotaOf(owner, this.#random, wide);
    const answer = await this.#doors.ask(ResourceService.method.updateQuota, { quota });
    // One that is in use is not lowered: then it stays as it is.
    if (answer?.kind === 'refused' && (wide || answer.reason !== 'QUOTA_IN_USE')) {
      throw new Error(`quota of ${owner}: ${answer.reason} ${answer.detail}`);
    }
  }

  #newDoors(name: string): Doors {
    const { faults } = this.book;
    return new Doors({ channels: this.#connect(), random: this.#random.fork(`doors ${name}`), faults });
  }

  #connect(): GrpcClient[] {
    const channels = this.#rig.replicas.map(({ fromAgents }) => grpcChannel(fromAgents.address));
    this.#channels.push(...channels);
    return channels;
  }
}

const NEVER: ReadonlySet<PendingReason> = new Set([
  ...[PendingReason.NO_CAPABILITY, PendingReason.CONSTRAINTS, PendingReason.TOO_LARGE],
]);

function describeTask({ id, state, pending, agentId, attempts, spec }: Task): string {
  const why = pending && `${PendingReasonSchema.value[pending.reason]?.localName}: ${pending.detail}`;
  const tried = attempts
    .map((each) => `${each.number} ${each.agentId} ${each.state} ${each.error}`)
    .join('; ');
  const key = spec?.orderingKey ? ` key ${spec.orderingKey}` : '';
  return `${id}${key} is ${Task_StateSchema.value[state]?.localName} ${agentId} ${why ?? ''} [${tried}]`;
}
