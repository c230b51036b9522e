import { describe, expect, it } from 'vitest';
import { StateChange_Type } from '../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { AgentError, Code } from '../../src/client/errors.ts';
import type { SharedChange } from '../../src/client/shared-state.ts';
import { useAgent } from './agent-fixture.ts';

const fixture = useAgent();
const requests = () => fixture.network.calls.map(({ request }) => request);

describe('shared state', () => {
  it('reads an entry, and knows one that is not there', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async () => ({ entry: { key: 'k', revision: 4n } });
    expect(await agent.shared.get('k')).toMatchObject({ key: 'k', revision: 4n });
    fixture.network.onCall = async () => {
      throw new AgentError({ code: Code.NOT_FOUND, reason: 'STATE_NOT_FOUND', message: 'no' });
    };
    expect(await agent.shared.get('k')).toBeUndefined();
  });

  it('writes in its session, with the expectation, the expiry and the kind of value that was asked for', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async () => ({ revision: 5n });
    expect(await agent.shared.put('k', 'text', { ifRevision: 0n, expireAfterMs: 1500, bind: true })).toBe(5n);
    await agent.shared.put('j', { json: { a: [1, null] } });
    await agent.shared.remove('k', { ifRevision: 5n });
    expect(requests()).toMatchObject([
      {
        sessionEpoch: 1n,
        writes: [
          {
            key: 'k',
            expectedRevision: 0n,
            bindToSession: true,
            expireAfter: { seconds: 1n, nanos: 500_000_000 },
            operation: { case: 'put', value: { data: { case: 'text', value: 'text' } } },
          },
        ],
      },
      { writes: [{ operation: { value: { data: { case: 'json' } } } }] },
      { writes: [{ key: 'k', expectedRevision: 5n, operation: { case: 'remove' } }] },
    ]);
  });

  it('waits for the next session, and gives up in time', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async () => ({ revision: 5n });
    fixture.lost();
    await fixture.pass(0);
    const late = agent.shared.put('k', 'v', { timeoutMs: 60_000 });
    const never = agent.shared.put('k', 'v', { timeoutMs: 500 });
    await Promise.all([expect(never).rejects.toMatchObject({ reason: 'not_attached' }), fixture.pass(2000)]);
    fixture.network.stream.welcome(2n);
    await fixture.pass(0);
    expect(await late).toBe(5n);
    expect(requests()).toMatchObject([{ sessionEpoch: 2n }]);
  });

  it('does not repeat what was refused', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async () => {
      throw new AgentError({ code: Code.ABORTED, reason: 'REVISION_MISMATCH', message: 'no' });
    };
    await expect(agent.shared.put('k', 'v', { ifRevision: 3n })).rejects.toMatchObject({
      code: Code.ABORTED,
    });
    expect(requests()).toHaveLength(1);
  });

  it('follows entries over reconnects from its cursor, and says when it begins anew', async () => {
    const agent = await fixture.connected();
    const cursors: unknown[] = [];
    const entry = (revision: bigint) => ({ key: 'k', revision });
    fixture.network.onStream = async function* ({ cursor }, signal) {
      cursors.push(cursor);
      if (cursors.length === 3) throw new AgentError({ code: Code.OUT_OF_RANGE, message: 'too old' });
      const changes = [{ type: StateChange_Type.UPSERTED, entry: entry(BigInt(cursors.length)) }];
      yield { changes, cursor: `c${cursors.length}`, synced: true };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      throw new AgentError({ code: Code.CANCELLED, message: 'gone' });
    };
    const stop = new AbortController();
    const seen: SharedChange[] = [];
    const watching = (async () => {
      for await (const change of agent.shared.watch('', { signal: stop.signal })) seen.push(change);
    })();
    for (const epoch of [2n, 3n]) {
      await fixture.pass(10);
      fixture.lost();
      await fixture.pass(2000);
      fixture.network.stream.welcome(epoch);
      await fixture.pass(1000);
    }
    stop.abort();
    await fixture.pass(0);
    await watching;
    expect(cursors).toEqual(['', 'c1', 'c2', '']);
    expect(seen.map(({ kind }) => kind)).toEqual(['put', 'synced', 'put', 'restart', 'put', 'synced']);
  });
});
