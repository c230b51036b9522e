import {
  type AgentOutcome,
  AgentOutcome_State,
  type Operation,
  Operation_State,
  type WatchOperationResponse,
  WatchOperationResponseSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { Context } from './context.ts';
import { type ExitCode, exitCodes } from './errors.ts';
import { createLiveView, type LiveView } from './output/live-view.ts';
import {
  countOf,
  countsLine,
  nextWave,
  operationSpan,
  outcomeSpan,
  saidBy,
} from './output/operation-cells.ts';
import { dim, type Line, plain, renderLine, strong } from './output/text.ts';
import { runWatch, watchNotices } from './watch.ts';

/** Agents that failed, as the picture on a terminal shows them: the latest. */
const SHOWN = 8;
const BAR = 30;
const REDRAW_MS = 1000;

/**
 * Follows an operation until it has ended, or has stopped itself with nothing out any more. On a terminal as a picture in
 * place, elsewhere a line for each agent that is done with and for each change of the operation.
 */
export async function followOperation(context: Context, id: string, cursor = ''): Promise<ExitCode> {
  const { connection, namespace, signal, timeoutMs, io } = context;
  const json = context.format === 'json';
  const over = new AbortController();
  const forward = () => over.abort();
  signal.addEventListener('abort', forward, { once: true });
  const view = !json && io.stdout.isTTY === true ? createLiveView(io.stdout) : undefined;
  const story = new Story(context, view);
  // What is left of a pause between waves goes on without news.
  const redraw = view === undefined ? undefined : setInterval(() => story.draw(), REDRAW_MS);
  try {
    await runWatch<WatchOperationResponse>({
      open: (from, stop) =>
        connection.operations.watchOperation({ namespace, operationId: id, cursor: from }, { signal: stop }),
      cursorOf: (response) => response.cursor,
      receive: (response) => {
        if (json) context.json(WatchOperationResponseSchema, response, 'line');
        story.receive(response);
        if (story.isOver) over.abort();
      },
      ...watchNotices(context),
      restart: () => story.anew(),
      anew: () => story.anew(),
      signal: over.signal,
      firstWithinMs: timeoutMs,
      cursor,
    });
  } finally {
    signal.removeEventListener('abort', forward);
    clearInterval(redraw);
    view?.end();
  }
  if (!json) story.close(id);
  return story.isOver ? story.exitCode : exitCodes.interrupted;
}

const FINAL: ReadonlySet<AgentOutcome_State> = new Set([
  AgentOutcome_State.DONE,
  AgentOutcome_State.FAILED,
  AgentOutcome_State.CANCELLED,
]);

/** What was told of an operation so far. */
class Story {
  readonly #context: Context;
  readonly #view: LiveView | undefined;
  #operation: Operation | undefined;
  #synced = false;
  /** How each agent stood when it was told last. */
  readonly #told = new Map<string, AgentOutcome_State>();
  readonly #failed = new Map<string, AgentOutcome>();
  #said = '';
  #detail = '';

  constructor(context: Context, view: LiveView | undefined) {
    this.#context = context;
    this.#view = view;
  }

  get isOver(): boolean {
    const operation = this.#operation;
    if (operation === undefined || !this.#synced) return false;
    const out =
      countOf(operation, AgentOutcome_State.DELIVERED) + countOf(operation, AgentOutcome_State.ACCEPTED);
    return operation.endTime !== undefined || (operation.state === Operation_State.STOPPED && out === 0);
  }

  get exitCode(): ExitCode {
    return this.#operation?.state === Operation_State.SUCCEEDED ? exitCodes.ok : exitCodes.failed;
  }

  receive({ operation, agents, synced }: WatchOperationResponse): void {
    if (operation !== undefined) this.#operation = operation;
    this.#synced ||= synced;
    if (this.#context.format === 'json') return;
    for (const agent of agents) this.#agent(agent);
    if (this.#view === undefined) this.#change();
    else this.draw();
  }

  /** Everything comes again. */
  anew(): void {
    this.#synced = false;
    this.#failed.clear();
  }

  /** What remains to be said when nobody looks any more. */
  close(id: string): void {
    const { state, endTime } = this.#operation ?? {};
    if (!this.isOver) {
      this.#context.note([
        plain('the operation goes on; '),
        dim(`orchestrator operations watch ${id}, or … cancel ${id}`),
      ]);
    } else if (state === Operation_State.STOPPED && endTime === undefined) {
      this.#context.note([
        plain('it has stopped. Once the cause is gone: '),
        strong(`orchestrator operations resume ${id} --retry-failed`),
        dim(`; who failed: orchestrator operations show ${id} --state failed`),
      ]);
    }
  }

  #agent(agent: AgentOutcome): void {
    const { agentId, state, wave, verified } = agent;
    if (state === AgentOutcome_State.FAILED) {
      this.#failed.delete(agentId);
      this.#failed.set(agentId, agent);
    } else this.#failed.delete(agentId);
    const before = this.#told.get(agentId);
    this.#told.set(agentId, state);
    if (this.#view !== undefined || before === state || !FINAL.has(state)) return;
    const unseen = state === AgentOutcome_State.DONE && !verified ? ' (its effect was not seen)' : '';
    const said = saidBy(agent);
    this.#context.say([
      dim(`wave ${wave}  `),
      strong(agentId),
      plain(' '),
      outcomeSpan(state),
      plain(`${unseen}${said === '' ? '' : `: ${said}`}`),
    ]);
  }

  /** A line where the operation itself stands otherwise than it was said last. */
  #change(): void {
    const operation = this.#operation;
    if (operation === undefined || !this.#synced) return;
    const { state, wave, endTime, detail } = operation;
    const stands = `${state} ${wave} ${endTime !== undefined} ${detail}`;
    if (stands === this.#said) return;
    this.#said = stands;
    const isNews = detail !== this.#detail;
    this.#detail = detail;
    this.#context.say(headline(operation, Date.now(), isNews));
  }

  draw(): void {
    const operation = this.#operation;
    if (operation === undefined) return;
    const style = { ...this.#context.style, columns: this.#context.io.stdout.columns };
    const failed = [...this.#failed.values()];
    const lines: Line[] = [
      headline(operation, Date.now()),
      [plain(bar(operation)), plain(' '), ...countsLine(operation)],
      ...failed
        .slice(-SHOWN)
        .map(
          (agent): Line => [
            plain('  '),
            strong(agent.agentId),
            plain(' '),
            outcomeSpan(agent.state),
            plain(`: ${saidBy(agent)}`),
          ],
        ),
    ];
    if (failed.length > SHOWN) lines.push([dim(`  … and ${failed.length - SHOWN} more that failed`)]);
    this.#view?.draw(lines.map((line) => renderLine(line, style)));
  }
}

/** @param detailed with why it stands so */
function headline(operation: Operation, nowMs: number, detailed = true): Line {
  const { spec, wave, waves, detail, endTime } = operation;
  return [
    strong(spec?.command ?? ''),
    plain(' '),
    operationSpan(operation),
    ...(endTime === undefined ? [plain(`, wave ${wave} of ${waves}`), ...nextWave(operation, nowMs)] : []),
    ...(detail === '' || !detailed ? [] : [plain(`: ${detail}`)]),
  ];
}

/** How many agents are done with: "[#####.....]". */
function bar(operation: Operation): string {
  const over = [...FINAL].reduce<number>((sum, state) => sum + countOf(operation, state), 0);
  const filled = operation.agents === 0 ? BAR : Math.floor((BAR * over) / operation.agents);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR - filled)}]`;
}
