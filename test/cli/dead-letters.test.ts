import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import type { RedriveDeadLettersRequest } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { type FakeService, startFakeService } from '../support/fake-service.ts';
import { cli, startCli } from '../support/run-cli.ts';

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

interface Letter {
  agent: string;
  id: string;
  reason?: string;
  /** When it was sent, Unix seconds. */
  sent?: bigint;
}

/** A service with these dead letters, in pages of 300; puts back what it is told. */
async function having(letters: Letter[], full = Number.POSITIVE_INFINITY) {
  const redriven: RedriveDeadLettersRequest[] = [];
  service = await startFakeService({
    messages: {
      listDeadLetters: ({ agentId, pageToken }) => {
        const matching = letters.filter(({ agent }) => agentId === '' || agent === agentId);
        const from = Number(pageToken || '0');
        const page = matching.slice(from, from + 300);
        return {
          nextPageToken: from + page.length < matching.length ? `${from + page.length}` : '',
          deadLetters: page.map(({ agent, id, reason = 'expired', sent = 1n }) => ({
            reason,
            error: 'no \u001b[2Jroom',
            time: { seconds: 1_700_000_000n },
            delivery: {
              agentId: agent,
              tries: 2,
              createTime: { seconds: sent },
              work: { deliveryId: id },
              item: {
                case: 'message' as const,
                value: { id: `m-${id}`, type: 'job', source: 's', extensions: { partitionkey: 'p' } },
              },
            },
          })),
        };
      },
      redriveDeadLetters: (request) => {
        if (redriven.length >= full)
          throw new ConnectError('the mailbox is full', Code.ResourceExhausted, {
            'error-reason': 'MAILBOX_FULL',
          });
        redriven.push(request);
        return { redriven: request.deliveryIds.length };
      },
    },
  });
  return { start: ['--server', service.address, 'dead-letters'], redriven };
}

const many = (agent: string, count: number): Letter[] =>
  Array.from({ length: count }, (_, at) => ({ agent, id: `${agent}-${at}` }));

describe('dead-letters list and show', () => {
  it('lists all pages, only those that are asked for, with what others wrote made harmless', async () => {
    const { start } = await having([...many('a', 301), { agent: 'b', id: 'b-0', reason: 'declined' }]);
    const all = await cli([...start, 'list']);
    expect(all.stdout.trim().split('\n')).toHaveLength(303);
    expect(all.stdout).toMatch(
      /^AGENT +DELIVERY +REASON +WHAT +FROM +TRIES +WHEN +ERROR\na +a-0 +expired +message job +s +2 /,
    );
    expect(all.stdout).toContain('no \\x1b[2Jroom');
    const some = await cli([...start, 'list', '--reason', 'declined', '-o', 'json']);
    expect(JSON.parse(some.stdout)).toMatchObject({ deadLetters: [{ reason: 'declined' }] });
    const few = await cli([...start, 'list', '--agent', 'a', '--limit', '2']);
    expect(few.stdout.trim().split('\n')).toHaveLength(3);
    expect(few.stderr).toContain('raise --limit');
  });

  it('shows one, and says when it is not there', async () => {
    const { start } = await having(many('a', 2));
    const run = await cli([...start, 'show', 'a-1', '--agent', 'a']);
    expect(run.stdout).toMatch(/delivery +a-1\n/);
    expect(run.stdout).toMatch(/partitionkey +p\n/);
    expect(await cli([...start, 'show', 'nowhere'])).toMatchObject({ code: 3, stdout: '' });
  });
});

describe('dead-letters redrive', () => {
  it('puts those named back, to another agent, as one request that can be repeated', async () => {
    const { start, redriven } = await having([]);
    const words = ['redrive', 'x', 'y', 'x', '--to-agent', 'b', '--request-id', 'r1'];
    const run = await cli([...start, ...words]);
    expect(run).toMatchObject({ code: 0, stdout: 'put back: 2 dead letters to b\n' });
    await cli([...start, ...words]);
    expect(redriven).toMatchObject([{ deliveryIds: ['x', 'y'], toAgentId: 'b', agentId: '' }, {}]);
    expect(redriven[1]?.requestId).toBe(redriven[0]?.requestId);
  });

  it('puts all of an agent back, 256 at a time, and none that comes meanwhile', async () => {
    const { start, redriven } = await having([...many('a', 600), ...many('b', 3)]);
    const run = await cli([...start, 'redrive', '--agent', 'a']);
    expect(run.stdout).toContain('600 dead letters');
    expect(redriven.map(({ agentId, deliveryIds }) => [agentId, deliveryIds.length])).toEqual([
      ['a', 256],
      ['a', 256],
      ['a', 88],
    ]);
    expect(new Set(redriven.map(({ requestId }) => requestId)).size).toBe(3);
  });

  it('puts the oldest back first', async () => {
    const letters = many('a', 300).map((letter, at) => ({ ...letter, sent: BigInt(1000 - at) }));
    const { start, redriven } = await having(letters);
    await cli([...start, 'redrive', '--agent', 'a']);
    const order = redriven.flatMap(({ deliveryIds }) => deliveryIds);
    expect(order).toEqual(letters.map(({ id }) => id).reverse());
  });

  it('asks before it puts all of a namespace back, by agent', async () => {
    const { start, redriven } = await having([
      ...many('a', 1),
      { agent: 'b', id: 'b-0', reason: 'declined' },
    ]);
    expect(await cli([...start, 'redrive', '--all'])).toMatchObject({ code: 2 });
    const asked = startCli([...start, 'redrive', '--all'], { columns: 100 });
    await asked.shows('put back all dead letters of namespace default? [y/N]');
    asked.type('n\n');
    expect(await asked.ended).toBe(1);
    expect(redriven).toEqual([]);
    expect(await cli([...start, 'redrive', '--all', '--reason', 'declined', '--yes'])).toMatchObject({
      code: 0,
    });
    expect(redriven).toMatchObject([{ agentId: 'b', deliveryIds: ['b-0'] }]);
  });

  it('says how many were put back before a mailbox was full', async () => {
    const { start } = await having(many('a', 300), 1);
    const run = await cli([...start, 'redrive', '--agent', 'a']);
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('256 of 300 were put back before this');
    expect(run.stderr).toContain('MAILBOX_FULL');
  });

  it.each([
    ['nothing', ['redrive'], 'which ones?'],
    ['ids and all', ['redrive', 'x', '--all', '--yes'], 'leave --all'],
    ['all and a request id', ['redrive', '--all', '--yes', '--request-id', 'r'], '--request-id'],
  ])('refuses %s', async (_, words, hint) => {
    const { start } = await having([]);
    const run = await cli([...start, ...words]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(hint);
  });
});
