import type { Command } from 'commander';
import {
  type SendMessageResponse,
  SendMessageResponseSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Context, Runner } from '../context.ts';
import { expireOption, type MessageOptions, messageOf, messageOptions } from '../message-options.ts';
import { dim, good, type Line, plain, strong, warn } from '../output/text.ts';
import { mayHaveHappened } from '../request-id.ts';
import { addCallCommand } from './messages-call.ts';
import { addTailCommand } from './messages-tail.ts';

/** `messages send|call|tail` */
export function addMessageCommands(program: Command, run: Runner): void {
  const messages = program
    .command('messages')
    .alias('message')
    .description('messages to agents, calls of them, and the traffic as it happens');

  expireOption(
    messageOptions(messages.command('send').description('send a message, and wait until it is stored'), true),
  )
    .addHelpText(
      'after',
      `
Examples:
  orchestrator messages send --to-agent sum-1 --type note --data 'hello'
  orchestrator messages send --to-topic jobs.done --type job.done --json --data '{"job": 7}'
  render | orchestrator messages send --to-capability print --type page --data - --content-type text/html
  orchestrator messages send --to-selector 'env=prod' --type config.changed

It is delivered at least once, or becomes a dead letter. Code 3: there is no such agent, or nobody to receive it.`,
    )
    .action((options: MessageOptions, command: Command) =>
      run(command, (context) => sendMessage(context, options)),
    );
  addCallCommand(messages, run);
  addTailCommand(messages, run);
}

async function sendMessage(context: Context, options: MessageOptions): Promise<void> {
  const { connection, namespace, call } = context;
  const { send, id } = await messageOf(context, options);
  let response: SendMessageResponse;
  try {
    response = await connection.messages.sendMessage({ namespace, send }, call);
  } catch (error) {
    if (mayHaveHappened(error))
      context.note([plain(`it may or may not be stored; to be sure, repeat it with --id ${id}`)]);
    throw error;
  }
  if (context.format === 'json') return context.json(SendMessageResponseSchema, response, 'document');
  context.say(storedLine(response));
  const { muted, throttled } = response;
  if (muted + throttled > 0)
    context.note([warn('link policies: '), plain(`${muted} receivers muted, ${throttled} throttled`)]);
}

function storedLine({ messageId, receivers, agentId, deliveryId, revision }: SendMessageResponse): Line {
  const to = receivers === 1 && agentId !== '' ? agentId : `${receivers} receivers`;
  const more = deliveryId === '' ? '' : `, delivery ${deliveryId}`;
  return [
    good('stored: '),
    plain('for '),
    strong(to),
    dim(`, message ${messageId}${more}, revision ${revision}`),
  ];
}
