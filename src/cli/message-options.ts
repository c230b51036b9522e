import { randomUUID } from 'node:crypto';
import { hostname, userInfo } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  MessageSchema,
  type Payload,
  type SendMessage,
  SendMessageSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { Context } from './context.ts';
import { UsageError } from './errors.ts';
import { collectPair, parsePositiveDuration } from './parse.ts';
import { readPayload } from './payload.ts';

/** What describes a message and whom it is for. */
export interface MessageOptions {
  toAgent?: string;
  toCapability?: string;
  toTopic?: string;
  toSelector?: string;
  type: string;
  data?: string;
  json?: boolean;
  contentType?: string;
  subject?: string;
  source?: string;
  id?: string;
  key?: string;
  expireAfter?: number;
  extension?: ReadonlyMap<string, string>;
}

/** `many`: also for more than one receiver. */
export function messageOptions(command: Command, many: boolean): Command {
  command
    .option('--to-agent <agent>', 'for this agent')
    .option('--to-capability <name>', 'for any one agent that has this capability');
  if (many) {
    command
      .option('--to-topic <topic>', 'for everyone who is subscribed to it')
      .option('--to-selector <selector>', 'for all agents that this label selector picks');
  }
  return command
    .requiredOption('--type <type>', 'what it is about')
    .option('--data <text>', 'its content: text, @file, or - for stdin; default: none')
    .option('--json', 'the content is JSON, and is checked')
    .option('--content-type <type>', 'media type of the content; default: by its kind')
    .option('--subject <text>', 'what it concerns')
    .option('--source <name>', 'who sends it; default: user@host')
    .option('--id <id>', 'its id; the same one again, from the same source, is the same message')
    .option('--key <key>', 'those of one key are handled one after the other; default: the source')
    .option('--extension <name=value>', 'a CloudEvents attribute; as often as wanted', collectPair);
}

export const expireOption = (command: Command): Command =>
  command.option('--expire-after <duration>', 'given up after this time', parsePositiveDuration);

/** @throws UsageError */
export async function messageOf(
  context: Context,
  options: MessageOptions,
): Promise<{ send: SendMessage; id: string; source: string }> {
  const { type, subject = '', key = '', expireAfter, extension = new Map() } = options;
  const id = options.id ?? randomUUID();
  const source = options.source ?? ownName();
  const data = await dataOf(context, options);
  const send = create(SendMessageSchema, {
    message: create(MessageSchema, {
      id,
      source,
      type,
      subject,
      extensions: Object.fromEntries(extension),
      ...(data !== undefined && { data }),
    }),
    to: targetOf(options),
    orderingKey: key,
    ...(expireAfter !== undefined && { expireAfter: durationFromMs(expireAfter) }),
  });
  return { send, id, source };
}

async function dataOf(
  { io }: Context,
  { data, json, contentType }: MessageOptions,
): Promise<Payload | undefined> {
  if (data === undefined) {
    if (json === true || contentType !== undefined)
      throw new UsageError('--json and --content-type are about --data: give it');
    return undefined;
  }
  const file = data === '-' ? '-' : data.startsWith('@') ? data.slice(1) : undefined;
  const payload = await readPayload(io, {
    argument: file === undefined ? data : undefined,
    file,
    json: json === true,
  });
  if (contentType !== undefined) payload.contentType = contentType;
  return payload;
}

function targetOf({ toAgent, toCapability, toTopic, toSelector }: MessageOptions): SendMessage['to'] {
  const given: SendMessage['to'][] = [];
  if (toAgent !== undefined) given.push({ case: 'agentId', value: toAgent });
  if (toCapability !== undefined) given.push({ case: 'capability', value: toCapability });
  if (toTopic !== undefined) given.push({ case: 'topic', value: toTopic });
  if (toSelector !== undefined) given.push({ case: 'selector', value: toSelector });
  const [target, another] = given;
  if (target === undefined || another !== undefined)
    throw new UsageError('for whom? one of the --to options must be given, and only one');
  return target;
}

/** Of visible ASCII, as the service wants it. */
function ownName(): string {
  let user = 'somebody';
  try {
    user = userInfo().username;
  } catch {
    // Without an entry for its user id a container has no name.
  }
  return `${user}@${hostname()}`.replace(/[^\x21-\x7e]/g, '_').slice(0, 128);
}
