import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type AgentHandle, connectAgent } from '../../src/client/index.ts';
import { failureOf } from '../support/clients.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';
import { AgentProcess } from './agent-process.ts';
import { MessageClient } from './message-client.ts';
import { suiteWith, suiteWithAll, type Tool } from './tools.ts';

let service: ServiceProcess;
let client: MessageClient;
const processes: AgentProcess[] = [];
const handles: AgentHandle[] = [];

beforeAll(async () => {
  // Long tasks are accepted after half of accept_within.
  const env = { ORCHESTRATOR_DELIVERIES_ACCEPT_WITHIN: '1s', ORCHESTRATOR_SESSION_PING_INTERVAL: '500ms' };
  service = await ServiceProcess.start({ env });
  client = new MessageClient(service.grpc);
});
afterAll(async () => {
  client?.close();
  await service?.stop();
});
afterEach(async () => {
  await Promise.all(processes.splice(0).map((one) => one.end()));
  await Promise.all(handles.splice(0).map((one) => one.leave()));
});

async function start(tool: Tool, id: string, peer = ''): Promise<AgentProcess> {
  const agent = new AgentProcess(tool, [service.grpc, id, ...(peer === '' ? [] : [peer])]);
  processes.push(agent);
  await agent.line(/^connected/);
  return agent;
}

function messagesOfA(language: string, tool: Tool): void {
  // Of their own in each test: an agent that was killed is there for a moment longer.
  let first = '';
  let second = '';
  let made = 0;
  beforeEach(() => {
    made += 1;
    [first, second] = [`${language}-a${made}`, `${language}-b${made}`];
  });

  test('two agents call each other, also within a call', async () => {
    const one = await start(tool, first, second);
    const two = await start(tool, second, first);
    await one.line(new RegExp(`^asked: ${first} -> ${second} -> ${first}$`));
    await two.line(new RegExp(`^asked: ${second} -> ${first} -> ${second}$`));
    expect(await client.ask(first, 3)).toEqual({ way: [first, second, first, second] });
  });

  test('a greeting reaches every subscriber of its topic, a message its agent', async () => {
    const one = await start(tool, first);
    await one.line(new RegExp(`^${first} says hello from ${first}$`)); // it is a subscriber itself
    const two = await start(tool, second);
    await two.line(new RegExp(`^${second} says hello from ${second}$`));
    await one.line(new RegExp(`^${second} says hello from ${second}$`));
    await client.greet(second, 'good day');
    await two.line(/^test says good day$/);
    expect(one.lines.map(({ text }) => text)).not.toContain('test says good day');
  });

  test('a call whose handler fails is told why; one of another type is declined', async () => {
    const one = await start(tool, first, 'nobody-there');
    await one.line(/^nobody-there is not there$/);
    const failure = await failureOf(client.ask(first, 1));
    expect(failure).toMatchObject({ code: 'FailedPrecondition', reason: 'CALL_FAILED' });
    expect(failure.message).toContain('AGENT_NOT_FOUND');
  });

  test('a call that takes longer is accepted and comes once; past its deadline it is revoked all the way down', async () => {
    await start(tool, first, `slow-${language}`);
    let asked = 0;
    let revoked = 0;
    const slow = await connectAgent({
      server: service.grpc,
      id: `slow-${language}`,
      spec: {},
      maxInFlight: 4,
      onCall: {
        ask: async ({ data }, { signal }) => {
          const { hops } = data as { hops: number };
          if (hops === 6) asked += 1;
          if (hops === 7) signal.addEventListener('abort', () => (revoked += 1));
          const takesMs = new Map([
            [6, 2_500],
            [7, 20_000],
          ]).get(hops);
          await sleep(takesMs ?? 0, undefined, { signal });
          return { way: [`slow-${language}`] };
        },
      },
    });
    handles.push(slow);
    expect(await client.ask(first, 7)).toEqual({ way: [first, `slow-${language}`] });
    expect(asked).toBe(1);
    const failure = await failureOf(client.ask(first, 8, 1_500));
    // Its own deadline, or a moment before it that of the call in turn.
    expect(failure.code).toMatch(/DeadlineExceeded|FailedPrecondition/);
    await until(
      () => revoked,
      (count) => count > 0,
      { what: 'the call in turn to be taken back' },
    );
  });

  test('the service killed and started again, the agent answers and asks as before', async () => {
    const one = await start(tool, first, second);
    await start(tool, second);
    await one.line(/^asked/);
    await service.restart();
    await one.line(/^connected/, 2);
    await until(
      () => client.ask(first, 1).catch((error: unknown) => String(error)),
      (answer) => typeof answer !== 'string',
      { what: 'an answer' },
    );
  });
}

suiteWith('python-pair', 'Python agents', (tool) => messagesOfA('python', tool));
suiteWith('go-pair', 'Go agents', (tool) => messagesOfA('go', tool));

suiteWithAll(['python-pair', 'go-pair'], 'a Python and a Go agent', ([python, go]) => {
  test('call each other', async () => {
    if (python === undefined || go === undefined) throw new Error('no tools');
    const one = await start(python, 'snake', 'gopher');
    const two = await start(go, 'gopher', 'snake');
    await one.line(/^asked: snake -> gopher -> snake$/);
    await two.line(/^asked: gopher -> snake -> gopher$/);
    expect(await client.ask('gopher', 2)).toEqual({ way: ['gopher', 'snake', 'gopher'] });
  });
});
