import { randomUUID } from 'node:crypto';
import { ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BadRequestSchema } from '../../gen/google/rpc/error_details_pb.ts';
import type { Agent } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { failureOf } from '../support/clients.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { pause, until } from '../support/until.ts';

describe.each(storeKinds)('writes on %s', (kind) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await Stack.start(kind);
  });
  afterAll(async () => {
    await stack?.dispose();
  });

  it('with a request_id are done once: a repeat gets the first answer, at once or after a restart', async () => {
    const request = { spec: { kind: 'once' }, requestId: randomUUID() };
    const answers = await Promise.all(
      Array.from({ length: 3 }, () => stack.clients.agents.registerAgent(request)),
    );
    const ids = new Set(answers.map(({ agent }) => agent?.id));
    expect(ids.size).toBe(1);
    await stack.restart();
    const later = await stack.clients.agents.registerAgent(request);
    expect(ids.has(later.agent?.id)).toBe(true);
    expect(later.agent?.uid).toBe(answers[0]?.agent?.uid);
    const { totalSize } = await stack.clients.agents.listAgents({ filter: { kinds: ['once'] } });
    expect(totalSize).toBe(1);
    for (const { agentToken } of [answers[0] ?? later, later]) {
      const agent = stack.agent({ id: later.agent?.id ?? '' });
      agent.token = agentToken;
      await agent.attach().welcome;
    }
  });

  it('with a request_id of another body are refused', async () => {
    const requestId = randomUUID();
    await stack.clients.agents.registerAgent({ agentId: 'body-1', requestId });
    const other = stack.clients.agents.registerAgent({ agentId: 'body-2', requestId });
    expect(await failureOf(other)).toMatchObject({ code: 'InvalidArgument', reason: 'REQUEST_ID_REUSED' });
  });

  it('with the same expected_revision race, and exactly one of them wins', async () => {
    const { agents } = stack.clients;
    const { agent } = await agents.registerAgent({ agentId: 'contended' });
    const expectedRevision = agent?.revision ?? 0n;
    const attempts = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        agents.updateAgent({
          agentId: 'contended',
          spec: { version: `${i}` },
          updateMask: { paths: ['version'] },
          expectedRevision,
        }),
      ),
    );
    const won = attempts.filter(({ status }) => status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const attempt of attempts) {
      if (attempt.status === 'fulfilled') continue;
      expect(await failureOf(Promise.reject(attempt.reason))).toMatchObject({
        code: 'Aborted',
        reason: 'REVISION_MISMATCH',
      });
    }
  });

  it('without expected_revision all go through, each on top of the one before', async () => {
    const { agents } = stack.clients;
    await agents.registerAgent({ agentId: 'labelled' });
    const label = (i: number) => ({
      agentId: 'labelled',
      spec: { labels: { [`l${i}`]: 'x' } },
      updateMask: { paths: [`labels.l${i}`] },
    });
    // Many writers of one record may be told to try again (CONTENTION), which must lose nothing either.
    const write = async (i: number) => {
      for (let attempt = 0; ; attempt++) {
        const answer = await agents.updateAgent(label(i)).catch((error: unknown) => ConnectError.from(error));
        if (!(answer instanceof ConnectError)) return answer.agent;
        const failure = answer;
        expect(failure.metadata.get('error-reason')).toBe('CONTENTION');
        expect(attempt, 'attempts').toBeLessThan(20);
        await pause(Number(failure.metadata.get('retry-after-ms') ?? 0) * Math.random());
      }
    };
    const written = await Promise.all(Array.from({ length: 20 }, (_, i) => write(i)));
    const count = (agent: Agent | undefined) => Object.keys(agent?.spec?.labels ?? {}).length;
    const inOrder = written.sort((a, b) => Number((a?.revision ?? 0n) - (b?.revision ?? 0n)));
    expect(inOrder.map(count)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    const minRevision = inOrder.at(-1)?.revision ?? 0n;
    const { agent } = await agents.getAgent({ agentId: 'labelled', minRevision });
    expect(count(agent)).toBe(20);
  });

  it('are read back with min_revision, which waits within the deadline', async () => {
    const { agents } = stack.clients;
    const { agent } = await agents.registerAgent({ agentId: 'fresh' });
    const revision = agent?.revision ?? 0n;
    const read = await agents.getAgent({ agentId: 'fresh', minRevision: revision });
    expect(read.agent?.revision).toBe(revision);
    const waiting = agents.getAgent({ agentId: 'fresh', minRevision: revision + 1n }, { timeoutMs: 10_000 });
    const { agent: other } = await agents.registerAgent({ agentId: 'fresher' });
    expect(other?.revision).toBeGreaterThan(revision);
    await waiting;
    const never = agents.listAgents({ minRevision: revision + 1_000_000n }, { timeoutMs: 500 });
    const { code } = await failureOf(never);
    expect(['Unavailable', 'DeadlineExceeded']).toContain(code);
  });

  it('name every violated field at once and store nothing', async () => {
    const call = stack.clients.agents.registerAgent({
      namespace: 'Not Valid',
      agentId: '-bad-',
      requestId: 'r'.repeat(200),
      spec: {
        kind: 'not a kind',
        labels: { 'a b': 'x', ok: 'not ok!' },
        capacity: { slots: -1n },
        capabilities: [{ name: 'twice' }, { name: 'twice' }, { name: '' }],
        relationships: [{ type: 0, agentId: '' }],
        forgetAfter: { seconds: -5n, nanos: 0 },
      },
    });
    const error = await call.then(
      () => undefined,
      (reason: unknown) => ConnectError.from(reason),
    );
    const fields = (error?.findDetails(BadRequestSchema) ?? []).flatMap(({ fieldViolations }) =>
      fieldViolations.map(({ field }) => field),
    );
    for (const part of [
      'namespace',
      'agent_id',
      'request_id',
      'kind',
      'labels',
      'capacity',
      'capabilities',
      'relationships',
      'forget_after',
    ]) {
      expect(
        fields.some((field) => field.includes(part)),
        `${part} in ${fields.join(', ')}`,
      ).toBe(true);
    }
  });

  it('forget agents that stayed away for forget_after', async () => {
    const agent = stack.agent({ id: 'forgettable' });
    await agent.register({ spec: { forgetAfter: { seconds: 1n, nanos: 0 } } });
    const session = agent.attach();
    await session.welcome;
    await session.leave();
    await until(
      () => failureOf(stack.clients.agents.getAgent({ agentId: 'forgettable' })),
      ({ code }) => code === 'NotFound',
      { what: 'the agent to be forgotten', timeoutMs: 15_000 },
    );
  });
});
