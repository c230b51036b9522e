import { type Command, Option } from 'commander';
import {
  ApplyRebalanceResponseSchema,
  type PlanRebalanceRequest_Goal,
  PlanRebalanceRequest_GoalSchema,
  PlanRebalanceResponseSchema,
  type RebalancePlan,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { enumChoices, enumName } from '../output/names.ts';
import { renderTable } from '../output/table.ts';
import { dim, good, plain, strong } from '../output/text.ts';
import { formatMs } from '../output/time.ts';
import { collectEnum, parseCount } from '../parse.ts';
import { withRequestId } from '../request-id.ts';

/** `resources rebalance plan|apply` */
export function addRebalanceCommands(resources: Command, run: Runner): void {
  const rebalance = resources
    .command('rebalance')
    .description('moves of tasks that free agents, relieve hot ones or make room');

  rebalance
    .command('plan')
    .description('look for moves, with what each brings and costs; nothing is changed')
    .addOption(
      new Option('--goal <goal>', 'what for; default: all')
        .choices(enumChoices(PlanRebalanceRequest_GoalSchema))
        .argParser(collectEnum(PlanRebalanceRequest_GoalSchema)),
    )
    .option('--max-moves <count>', 'at most so many', parseCount(1, 100), 20)
    .action((options: { goal?: PlanRebalanceRequest_Goal[]; maxMoves: number }, command: Command) =>
      run(command, (context) => planMoves(context, options)),
    );

  rebalance
    .command('apply')
    .description('carry a plan out: each task begins anew on its new agent before the old one stops')
    .argument('<plan>', 'its id')
    .option('--request-id <id>', 'makes a repeat of the same command safe')
    .addHelpText(
      'after',
      '\nCode 4: the plan is out of date, and nothing was moved; 3: it is not kept any more (10m).',
    )
    .action((planId: string, options: { requestId?: string }, command: Command) =>
      run(command, (context) => applyPlan(context, planId, options.requestId)),
    );
}

async function planMoves(
  context: Context,
  { goal = [], maxMoves }: { goal?: PlanRebalanceRequest_Goal[]; maxMoves: number },
): Promise<void> {
  const { connection, namespace, call, format } = context;
  const response = await connection.resources.planRebalance(
    { namespace, goals: [...new Set(goal)], maxMoves },
    call,
  );
  if (format === 'json') return context.json(PlanRebalanceResponseSchema, response, 'document');
  if (response.plan !== undefined) tellPlan(context, response.plan);
}

function tellPlan(context: Context, { id, moves, summary, notMovable }: RebalancePlan): void {
  context.say([plain(summary === '' ? 'nothing to move' : summary)]);
  if (notMovable > 0) context.note([dim(`${notMovable} tasks may not be moved (they are not movable)`)]);
  if (moves.length === 0) return;
  const rows = moves.map((move) => [
    strong(move.taskId),
    plain(move.fromAgentId),
    plain(move.toAgentId),
    plain(enumName(PlanRebalanceRequest_GoalSchema, move.goal)),
    good(`${Math.round(move.gain * 100)} %`),
    plain(formatMs(move.costSeconds * 1000)),
    dim(move.detail),
  ]);
  const columns = [
    { title: 'TASK', shrinkTo: 12 },
    { title: 'FROM', shrinkTo: 10 },
    { title: 'TO', shrinkTo: 10 },
    { title: 'FOR', dropOrder: 2 },
    { title: 'GAIN', align: 'right' as const },
    { title: 'LOST WORK', align: 'right' as const },
    { title: 'WHY', shrinkTo: 12, dropOrder: 1 },
  ];
  context.print(renderTable(columns, rows, context.style));
  context.note([plain('to carry it out: '), strong(`orchestrator resources rebalance apply ${id}`)]);
}

async function applyPlan(context: Context, planId: string, given: string | undefined): Promise<void> {
  const { connection, namespace, call, format } = context;
  const response = await withRequestId(context, given, (requestId) =>
    connection.resources.applyRebalance({ namespace, planId, requestId }, call),
  );
  if (format === 'json') return context.json(ApplyRebalanceResponseSchema, response, 'document');
  const { moves, revision } = response;
  context.say([
    good('begun: '),
    plain(`${moves} ${moves === 1 ? 'task is' : 'tasks are'} moved`),
    dim(` at revision ${revision}`),
  ]);
  context.note([dim('how it goes: orchestrator tasks watch, and events task.moved and task.move_failed')]);
}
