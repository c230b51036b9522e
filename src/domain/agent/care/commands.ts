import { createHash } from 'node:crypto';
import type { JsonObject } from '@bufbuild/protobuf';
import type { DeliveriesConfig } from '../../../config/config.ts';
import { putCommand } from '../../coordination/delivery-record.ts';

export interface CareCommand {
  /** What causes it, and nothing else does: the same cause makes the same delivery. */
  cause: readonly (string | number | bigint)[];
  type: string;
  agentId: string;
  subjectAgentId?: string;
  arguments: JsonObject;
  /** Which rule. */
  actor: string;
  storeMs: number;
  expireAfterMs: number;
}

/** A command for a mailbox, put there by a rule; returns its delivery's id with it. */
export function careCommand(
  config: DeliveriesConfig,
  { cause, ...command }: CareCommand,
): { id: string; put: { key: string; value: Uint8Array } } {
  const hash = createHash('sha256').update(cause.join('\n')).digest('base64url');
  const id = `${command.type}-${hash.slice(0, 22)}`;
  const put = putCommand({
    ...command,
    id,
    acceptWithinMs: config.acceptWithinMs,
    maxTries: config.maxTries,
  });
  return { id, put };
}
