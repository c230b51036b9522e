import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type ProcessExit,
  ProcessExitSchema,
  type ProcessReport,
  ProcessReport_StateSchema,
  ProcessReportSchema,
  type Progress,
  ProgressSchema,
  type Report,
  ReportSchema,
  type Work,
  WorkSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type DeliveryUpdate,
  DeliveryUpdate_State,
  DeliveryUpdate_StateSchema,
  DeliveryUpdateSchema,
  type Heartbeat,
  HeartbeatSchema,
  type Hello,
  HelloSchema,
  type Leave,
  LeaveSchema,
  type Message,
  MessageSchema,
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  type Payload,
  PayloadSchema,
  type SendMessage,
  SendMessageSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { encode } from '../../lib/encode.ts';
import type { FieldViolation } from '../../lib/errors.ts';
import { msFromRfc3339 } from '../../lib/rfc3339.ts';
import { Violations } from '../../lib/violations.ts';
import { LabelSelectorError, parseLabelSelector } from '../agent/label-selector.ts';
import { amounts, capabilityName } from './agent-spec.ts';
import { atMost, duration, known, load, timestamp } from './numbers.ts';
import { anything, list, map, message, oneOf, optional, type Rule, required } from './rules.ts';
import { agentId, line, name, optionalMediaType, pathName, prose, visible, word } from './text.ts';

const DAY_MS = 24 * 3600 * 1000;
const DEEPEST_JSON = 32;

const work: Rule<Work> = message(WorkSchema, {
  deliveryId: visible(128, 'refused'),
  attempt: anything,
});

const progress: Rule<Progress> = message(
  ProgressSchema,
  { work: optional(work), name: line(128), done: anything, total: anything },
  (violations, value) => {
    if (value.work === undefined && value.name === '') {
      violations.addAt('name', 'must not be empty without work: it tells counters apart');
    }
  },
);

const processExit: Rule<ProcessExit> = message(ProcessExitSchema, {
  start: anything,
  exitCode: anything,
  signal: visible(32, 'allowed'),
  ran: duration({ minMs: 0, maxMs: 3653 * DAY_MS, range: '0 to 10 years' }),
  requested: anything,
  lastLines: list({ max: 20, item: prose(512) }),
  time: timestamp,
});

const processReport: Rule<ProcessReport> = message(ProcessReportSchema, {
  state: known(ProcessReport_StateSchema, 'refused'),
  pid: anything,
  starts: anything,
  exits: list({ max: 4, item: processExit }),
  restartIn: duration({ minMs: 0, maxMs: 30 * DAY_MS, range: '0 to 30 days' }),
});

const report: Rule<Report> = message(ReportSchema, {
  activity: name(64, 'allowed'),
  load,
  usage: amounts,
  progress: list({ max: 256, item: progress }),
  configHash: visible(128, 'allowed'),
  process: optional(processReport),
});

const hello: Rule<Hello> = message(HelloSchema, {
  held: list({ max: 1024, item: work }),
  maxInFlight: atMost(1024),
  features: list({ max: 32, item: pathName(64) }),
  instanceId: visible(128, 'allowed'),
  client: line(128),
  report: optional(report),
});

const heartbeat: Rule<Heartbeat> = message(HeartbeatSchema, {
  echo: anything,
  held: duration({ minMs: 0, maxMs: DAY_MS, range: '0 to 1 day' }),
  agentTime: timestamp,
  report: optional(report),
});

/** Bounds the nesting of a JSON value and refuses numbers that JSON does not have. */
function checkJson(violations: Violations, value: Value, depth: number): void {
  const { kind } = value;
  if (depth > DEEPEST_JSON) {
    violations.add(`is nested deeper than ${DEEPEST_JSON} levels`);
  } else if (kind.case === 'numberValue') {
    if (!Number.isFinite(kind.value)) violations.add('holds a number that is not finite');
  } else if (kind.case === 'listValue') {
    for (const item of kind.value.values) checkJson(violations, item, depth + 1);
  } else if (kind.case === 'structValue') {
    for (const item of Object.values(kind.value.fields)) checkJson(violations, item, depth + 1);
  } else if (kind.case === undefined) {
    violations.add('holds a value without a kind');
  }
}

/** A payload; its size is bounded by that of the frame or request. */
export const payload: Rule<Payload> = message(PayloadSchema, {
  contentType: optionalMediaType,
  data: oneOf({
    binary: { name: 'binary', rule: anything },
    text: { name: 'text', rule: anything },
    json: {
      name: 'json',
      rule: (violations: Violations, value: Value) => checkJson(violations, value, 1),
    },
  }),
});

/** About how large a payload's data is: exactly, but for JSON. */
export function payloadBytes({ data }: Payload): number {
  switch (data.case) {
    case 'binary':
      return data.value.length;
    case 'text':
      return Buffer.byteLength(data.value);
    case 'json':
      return encode(ValueSchema, data.value).length;
    default:
      return 0;
  }
}

const deliveryUpdate: Rule<DeliveryUpdate> = message(
  DeliveryUpdateSchema,
  {
    work: required(work),
    state: known(DeliveryUpdate_StateSchema, 'refused'),
    output: optional(payload),
    error: prose(4096),
    retryable: anything,
    spent: amounts,
    running: list({ max: 64, item: line(128, { min: 1 }) }),
  },
  (violations, { state, output, running }) => {
    if (running.length > 0 && state !== DeliveryUpdate_State.ACCEPTED) {
      violations.addAt('running', 'is allowed with STATE_ACCEPTED only');
    }
    if (output !== undefined && state !== DeliveryUpdate_State.SUCCEEDED) {
      violations.addAt('output', 'is allowed with STATE_SUCCEEDED only');
    }
  },
);

// Names of CloudEvents extension attributes: lower-case letters and digits.
const extensionName = word({
  max: 20,
  empty: 'refused',
  pattern: /^[a-z0-9]+$/,
  allowed: 'of characters [a-z0-9]',
});

/** They stand in every mailbox entry, while a large payload is stored once. */
const MAX_EXTENSIONS_BYTES = 4096;

const agentMessage: Rule<Message> = message(
  MessageSchema,
  {
    id: visible(128, 'refused'),
    source: visible(256, 'allowed'),
    type: visible(128, 'refused'),
    subject: line(256),
    data: optional(payload),
    extensions: map<string>({ max: 32, key: extensionName, value: line(1024) }),
  },
  (violations, { extensions }) => {
    let bytes = 0;
    for (const key in extensions) bytes += key.length + Buffer.byteLength(extensions[key] ?? '');
    if (bytes > MAX_EXTENSIONS_BYTES) {
      const description = `have ${bytes} bytes of names and values; at most ${MAX_EXTENSIONS_BYTES} are allowed`;
      violations.addAt('extensions', description);
    }
  },
);

const MAX_DATA_BYTES = 65_536;
const topic = word({
  max: 256,
  empty: 'refused',
  pattern: /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/,
  allowed: 'words of [A-Za-z0-9_-] joined by dots',
});

const selector: Rule<string> = (violations, text) => {
  if (text === '')
    violations.add('must not be empty: it would pick every agent; say "!no-such-label" to mean that');
  try {
    parseLabelSelector(text);
  } catch (error) {
    if (!(error instanceof LabelSelectorError)) throw error;
    violations.add(error.message);
  }
};

/** A message and whom it is for. */
export const sendMessage: Rule<SendMessage> = message(
  SendMessageSchema,
  {
    message: required(agentMessage),
    to: oneOf({
      agentId: { name: 'agent_id', rule: agentId },
      capability: { name: 'capability', rule: capabilityName },
      topic: { name: 'topic', rule: topic },
      selector: { name: 'selector', rule: selector },
    }),
    expireAfter: duration({ minMs: 100, maxMs: 30 * DAY_MS, range: '100 ms to 30 days' }),
    orderingKey: visible(128, 'allowed'),
  },
  (violations, { message: sent, to }) => {
    if (to.case === undefined)
      violations.addAt('agent_id', 'one of agent_id, capability, topic and selector must be given');
    const bytes = sent?.data === undefined ? 0 : payloadBytes(sent.data);
    if (bytes > MAX_DATA_BYTES) {
      violations.addAt('message', `has ${bytes} bytes of data; at most ${MAX_DATA_BYTES} are allowed`);
    }
    const expiry = sent?.extensions.expirytime;
    if (expiry !== undefined && msFromRfc3339(expiry) === undefined) {
      violations.addAt('message', 'has an extension "expirytime" that is no RFC 3339 time');
    }
  },
);

const leave: Rule<Leave> = message(LeaveSchema, { reason: prose(1024) });

/** A frame of a session. One without a known kind has nothing to violate: the session refuses it as UNKNOWN_FRAME. */
export const frame: Rule<OpenSessionRequest> = message(OpenSessionRequestSchema, {
  frameId: visible(128, 'allowed'),
  frame: oneOf({
    hello: { name: 'hello', rule: hello },
    heartbeat: { name: 'heartbeat', rule: heartbeat },
    deliveryUpdate: { name: 'delivery_update', rule: deliveryUpdate },
    send: { name: 'send', rule: sendMessage },
    leave: { name: 'leave', rule: leave },
  }),
});

const NONE: FieldViolation[] = [];
Object.freeze(NONE);

// Frames are checked one after the other and a check never leads to another, so one collector serves them all and
// a sound frame costs no allocation.
const collector = new Violations();

/** What is wrong with a frame; an empty, frozen list when nothing is. */
export function validateFrame(request: OpenSessionRequest): FieldViolation[] {
  try {
    frame(collector, request);
  } catch (error) {
    collector.take();
    throw error;
  }
  return collector.count === 0 ? NONE : collector.take();
}
