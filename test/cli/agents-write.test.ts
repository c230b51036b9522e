import { create, fromJson } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { AgentSpecSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type DeregisterAgentRequest,
  type RegisterAgentRequest,
  RegisterAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { type FakeService, type FakeServiceOptions, startFakeService } from '../support/fake-service.ts';
import { cli, startCli } from '../support/run-cli.ts';
import { sampleAgent } from '../support/sample-agents.ts';

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

const at = () => ['--server', service?.address ?? ''];
const start = async (fake: FakeServiceOptions) => {
  service = await startFakeService(fake);
};

describe('agents register', () => {
  const registered = create(RegisterAgentResponseSchema, {
    agent: sampleAgent('alpha'),
    agentToken: 'secret-token',
  });

  it('sends the whole spec', async () => {
    const seen: RegisterAgentRequest[] = [];
    await start({
      agent: {
        registerAgent: (request) => {
          seen.push(request);
          return registered;
        },
      },
    });
    const { code } = await cli([
      ...at(),
      ...'agents register alpha --kind summarizer --display-name Alpha --agent-version 1.4.0'.split(' '),
      ...'--capability summarize@2 --capability translate --label tier=web --label x= --annotation note=a=b'.split(
        ' ',
      ),
      ...'--capacity cpu_milli=4000 --capacity slots=9007199254740993 --depends-on db --supervised-by boss'.split(
        ' ',
      ),
      ...'--activity indexing=30s --activity idle --forget-after 1d --takeover --request-id r-1'.split(' '),
    ]);
    expect(code).toBe(0);
    expect(seen[0]).toMatchObject({ agentId: 'alpha', takeover: true, requestId: 'r-1' });
    expect(seen[0]?.spec).toEqual(
      create(AgentSpecSchema, {
        kind: 'summarizer',
        displayName: 'Alpha',
        version: '1.4.0',
        capabilities: [{ name: 'summarize', version: '2' }, { name: 'translate' }],
        labels: { tier: 'web', x: '' },
        annotations: { note: 'a=b' },
        capacity: { cpu_milli: 4000n, slots: 9007199254740993n },
        relationships: [
          { type: 1, agentId: 'db' },
          { type: 2, agentId: 'boss' },
        ],
        activities: [{ name: 'indexing', progressBudget: durationFromMs(30_000) }, { name: 'idle' }],
        forgetAfter: durationFromMs(86_400_000),
      }),
    );
  });

  it('prints the token alone on stdout, so that a script can take it, and the rest on stderr', async () => {
    await start({ agent: { registerAgent: () => registered } });
    const { stdout, stderr } = await cli([...at(), 'agents', 'register', 'alpha']);
    expect(stdout).toBe('secret-token\n');
    expect(stderr).toContain('registered alpha');
    expect(stderr).not.toContain('secret-token');
  });

  it('registers again with the token from the environment', async () => {
    const seen: (string | null)[] = [];
    await start({
      agent: {
        registerAgent: (_request, context) => {
          seen.push(context.requestHeader.get('authorization'));
          return registered;
        },
      },
    });
    await cli([...at(), 'agents', 'register', 'alpha'], { env: { ORCHESTRATOR_AGENT_TOKEN: 'old-token' } });
    expect(seen).toEqual(['Bearer old-token']);
  });

  it('never shows a token that is malformed', async () => {
    await start({});
    const env = { ORCHESTRATOR_AGENT_TOKEN: 'secret\nother' };
    const { code, stdout, stderr } = await cli([...at(), 'agents', 'register', 'alpha'], { env });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).not.toContain('secret');
  });

  it('lists every violated field on a line of its own and ends with code 2', async () => {
    const error = new ConnectError('2 fields break their rules', Code.InvalidArgument, undefined, [
      { desc: ErrorInfoSchema, value: { reason: 'INVALID_FIELDS', domain: 'orchestrator.mycosoft.dev' } },
      {
        desc: BadRequestSchema,
        value: {
          fieldViolations: [
            { field: 'agent_id', description: 'must not hold spaces' },
            { field: 'spec.kind', description: 'is too long\u001b[2J' },
          ],
        },
      },
    ]);
    await start({
      agent: {
        registerAgent: () => {
          throw error;
        },
      },
    });
    const { code, stderr } = await cli([...at(), 'agents', 'register', 'a b']);
    expect(code).toBe(2);
    expect(stderr).toBe(
      'error: 2 fields are not as they must be (INVALID_FIELDS)\n  agent_id: must not hold spaces\n  spec.kind: is too long\\x1b[2J\n',
    );
  });

  it('says how to repeat a write whose outcome is unknown', async () => {
    const error = new ConnectError('the answer of the store was lost', Code.Unavailable, undefined, [
      { desc: ErrorInfoSchema, value: { reason: 'OUTCOME_UNKNOWN' } },
      { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(500) } },
    ]);
    let requestId = '';
    await start({
      agent: {
        registerAgent: (request) => {
          requestId = request.requestId;
          throw error;
        },
      },
    });
    const { code, stderr } = await cli([...at(), 'agents', 'register', 'alpha']);
    expect(code).toBe(1);
    expect(requestId).not.toBe('');
    expect(stderr).toContain(`repeat it with --request-id ${requestId}\n`);
    expect(stderr).toContain('the same may work after 500ms');
  });

  it.each([
    ['--label novalue', 'key=value'],
    ['--label a=1 --label a=2', 'given twice'],
    ['--capacity cpu=1.5', 'whole number'],
    ['--capacity cpu=9223372036854775808', 'whole number'],
    ['--forget-after soon', 'duration'],
    ['--activity indexing=5parsecs', 'duration'],
    ['--nonsense', 'unknown option'],
    ['one-too-many', 'too many arguments'],
  ])('refuses %s before it calls the service', async (argument, words) => {
    await start({});
    const { code, stderr } = await cli([...at(), 'agents', 'register', 'alpha', ...argument.split(' ')]);
    expect(code).toBe(2);
    expect(stderr).toContain(words);
  });

  it.each([
    [Code.AlreadyExists, 4],
    [Code.Aborted, 4],
    [Code.Unauthenticated, 5],
    [Code.ResourceExhausted, 1],
    [Code.Internal, 1],
  ])('ends a refusal of code %i with %i', async (refusal, expected) => {
    await start({
      agent: {
        registerAgent: () => {
          throw new ConnectError('no', refusal);
        },
      },
    });
    expect((await cli([...at(), 'agents', 'register', 'alpha'])).code).toBe(expected);
  });
});

describe('agents deregister', () => {
  const removals = () => {
    const seen: DeregisterAgentRequest[] = [];
    const deregisterAgent = (request: DeregisterAgentRequest) => {
      seen.push(request);
      return { revision: 8n };
    };
    return { seen, fake: { agents: [sampleAgent('alpha')], agent: { deregisterAgent } } };
  };

  it('asks on a terminal, says whom it concerns, and leaves the agent on anything but a yes', async () => {
    const { seen, fake } = removals();
    await start(fake);
    const run = startCli([...at(), 'agents', 'deregister', 'alpha'], { columns: 80, env: { NO_COLOR: '1' } });
    await run.shows('deregister alpha, summarizer, CONNECTED? [y/N]');
    run.type('\n');
    expect(await run.ended).toBe(1);
    expect(seen).toEqual([]);
  });

  it('removes it after a yes', async () => {
    const { seen, fake } = removals();
    await start(fake);
    const run = startCli([...at(), 'agents', 'deregister', 'alpha', '--reason', 'retired'], {
      columns: 80,
      env: { NO_COLOR: '1' },
    });
    await run.shows('[y/N]');
    run.type('yes\n');
    expect(await run.ended).toBe(0);
    expect(seen[0]).toMatchObject({ agentId: 'alpha', reason: 'retired' });
    expect(run.stdout).toContain('deregistered alpha at revision 8');
  });

  it('ends with code 130 when Ctrl-C answers the question', async () => {
    const { seen, fake } = removals();
    await start(fake);
    const run = startCli([...at(), 'agents', 'deregister', 'alpha'], { columns: 80 });
    await run.shows('[y/N]');
    run.interrupt();
    expect(await run.ended).toBe(130);
    expect(seen).toEqual([]);
  });

  it('refuses without a terminal unless --yes is given', async () => {
    const { seen, fake } = removals();
    await start(fake);
    const refused = await cli([...at(), 'agents', 'deregister', 'alpha']);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('add --yes');
    expect(seen).toEqual([]);
    expect((await cli([...at(), 'agents', 'deregister', 'alpha', '--yes'])).code).toBe(0);
    expect(seen).toHaveLength(1);
  });

  it('gives programs the response of a registration', async () => {
    await start({ agent: { registerAgent: () => ({ agent: sampleAgent('alpha'), agentToken: 't' }) } });
    const { stdout } = await cli([...at(), 'agents', 'register', 'alpha', '-o', 'json']);
    expect(fromJson(RegisterAgentResponseSchema, JSON.parse(stdout)).agentToken).toBe('t');
  });
});
