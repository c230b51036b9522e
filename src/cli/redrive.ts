import { create } from '@bufbuild/protobuf';
import {
  RedriveDeadLettersRequestSchema,
  RedriveDeadLettersResponseSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { msFromTimestamp } from '../lib/proto-time.ts';
import { refusal } from './ask.ts';
import type { Context } from './context.ts';
import { UsageError } from './errors.ts';
import { dim, good, plain, strong, warn } from './output/text.ts';
import { type DeadLetterFilter, deadLetters } from './read-dead-letters.ts';
import { partOfRequestId, withRequestId } from './request-id.ts';

export interface RedriveOptions extends DeadLetterFilter {
  all?: boolean;
  toAgent?: string;
  yes?: boolean;
  requestId?: string;
}

/** The service puts back so many at a time. */
const CHUNK = 256;

/** Puts dead letters back: those named, or those that are there now. */
export async function redrive(
  context: Context,
  deliveryIds: readonly string[],
  options: RedriveOptions,
): Promise<number | undefined> {
  const { agent, all = false, toAgent, reason } = options;
  const named = deliveryIds.length > 0;
  if (named && (all || reason !== undefined))
    throw new UsageError('delivery ids are enough: leave --all and --reason out');
  if (!named && agent === undefined && !all)
    throw new UsageError('which ones? delivery ids, --agent or --all must be given');
  if (!named && options.requestId !== undefined)
    throw new UsageError('--request-id is for delivery ids: what else is there may change in between');
  if (all) {
    const where = `of namespace ${context.namespace || 'default'}`;
    const refused = await refusal(
      context,
      options.yes,
      'put them all back',
      () => `put back all dead letters ${where}`,
    );
    if (refused !== undefined) return refused;
  }
  const byAgent = named
    ? new Map([[agent ?? '', [...new Set(deliveryIds)]]])
    : await present(context, { ...(agent !== undefined && { agent }), ...(reason && { reason }) });
  const total = [...byAgent.values()].reduce((sum, ids) => sum + ids.length, 0);
  if (total === 0) context.note([dim('no dead letters')]);
  let done = 0;
  try {
    for (const [agentId, ids] of byAgent) {
      for (let from = 0; from < ids.length; from += CHUNK) {
        done += await putBack(
          context,
          { agentId, toAgent, ids: ids.slice(from, from + CHUNK) },
          options.requestId,
        );
      }
    }
  } catch (error) {
    if (done > 0) context.note([warn(`${done} of ${total} were put back before this`)]);
    throw error;
  }
  if (context.format === 'json') {
    const response = create(RedriveDeadLettersResponseSchema, { redriven: done });
    context.json(RedriveDeadLettersResponseSchema, response, 'document');
  } else if (done > 0) {
    const to = toAgent === undefined ? [] : [plain(' to '), strong(toAgent)];
    context.say([good('put back: '), strong(done === 1 ? '1 dead letter' : `${done} dead letters`), ...to]);
  }
  return undefined;
}

/**
 * The ids of those that are there now, by agent and in the order in which they were sent: what becomes a dead letter again
 * meanwhile is left alone.
 */
async function present(context: Context, filter: DeadLetterFilter): Promise<Map<string, string[]>> {
  const byAgent = new Map<string, { id: string; sentMs: number }[]>();
  for await (const { delivery } of deadLetters(context, filter)) {
    const { agentId = '', work, createTime } = delivery ?? {};
    const letters = byAgent.get(agentId) ?? [];
    const sentMs = createTime === undefined ? 0 : msFromTimestamp(createTime);
    letters.push({ id: work?.deliveryId ?? '', sentMs });
    byAgent.set(agentId, letters);
  }
  return new Map(
    [...byAgent].map(([agentId, letters]) => [
      agentId,
      letters.sort((a, b) => a.sentMs - b.sentMs).map(({ id }) => id),
    ]),
  );
}

async function putBack(
  context: Context,
  { agentId, toAgent = '', ids }: { agentId: string; toAgent: string | undefined; ids: string[] },
  given: string | undefined,
): Promise<number> {
  const { connection, namespace, call } = context;
  const part = given && partOfRequestId(given, ids[0] ?? '');
  const { redriven } = await withRequestId(context, part, (requestId) =>
    connection.messages.redriveDeadLetters(
      create(RedriveDeadLettersRequestSchema, {
        namespace,
        agentId,
        deliveryIds: ids,
        toAgentId: toAgent,
        requestId,
      }),
      call,
    ),
  );
  return redriven;
}
