import type { JsonValue } from '@bufbuild/protobuf';
import { Code, type ConnectError } from '@connectrpc/connect';
import { type Agent, AgentSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Context } from './context.ts';
import { readErrorDetails } from './error-details.ts';
import { codeName, reportError } from './errors.ts';
import { messageValue, valueJson } from './output/json.ts';
import type { Standing } from './output/standing.ts';
import { dim, type Line, plain, strong } from './output/text.ts';

/** Tells what became of orders: a line an agent, for programs one object a line once it is final. */
export interface OrderReport {
  /** The order was taken; `final`: nothing is waited for. */
  given(agent: Agent, words: Line, deliveryId: string, final: boolean): void;
  progress(agentId: string, standing: Standing): void;
  ended(agentId: string, standing: Standing, agent: Agent): void;
  /** It was waited for, and it has not ended. */
  open(agentId: string, agent: Agent): void;
  failed(agentId: string, error: ConnectError): void;
  /** How many were not done as was wanted. */
  failures(): number;
}

export function createOrderReport(context: Context): OrderReport {
  const json = context.format === 'json';
  let failures = 0;
  const say = (agentId: string, ...words: Line) => context.say([strong(agentId), plain(' '), ...words]);
  const line = (value: JsonValue) => context.print([valueJson(value, 'line')]);
  return {
    given(agent, words, deliveryId, final) {
      if (!json) {
        const delivery =
          context.format === 'wide' && deliveryId !== '' ? [dim(`  delivery ${deliveryId}`)] : [];
        say(agent.id, ...words, ...delivery);
      } else if (final) line(outcome(agent, true, words));
    },
    progress(agentId, { words }) {
      context.note([strong(agentId), plain(' '), ...words]);
    },
    ended(agentId, { ok, words }, agent) {
      if (!ok) failures++;
      if (json) line(outcome(agent, ok, words));
      else say(agentId, ...words);
    },
    open(agentId, agent) {
      failures++;
      if (json) line(outcome(agent, false, [plain('it has not ended yet')]));
      else context.note([strong(agentId), plain(' has not ended yet; it goes on without this command')]);
    },
    failed(agentId, error) {
      failures++;
      const { reason } = readErrorDetails(error);
      if (json) {
        const { rawMessage: message, code } = error;
        line({ agentId, ok: false, error: { code: codeName(code), reason, message } });
        return;
      }
      const [head = [], ...more] = reportError(error, context.connection.address).lines;
      const [label = plain(''), ...rest] = head;
      context.note([label, strong(agentId), plain(': '), ...rest]);
      for (const each of more) context.note(each);
    },
    failures: () => failures,
  };
}

function outcome(agent: Agent, ok: boolean, words: Line): JsonValue {
  const text = words.map((span) => span.text).join('');
  return { agentId: agent.id, ok, outcome: text.trim(), agent: messageValue(AgentSchema, agent) };
}

/** The call failed for a reason that is not this agent's: the next one would fail as well. */
export function concernsAll(error: ConnectError): boolean {
  const { reason } = readErrorDetails(error);
  return (error.code === Code.Unavailable && reason === '') || error.code === Code.Canceled;
}
