import { create, fromJson } from '@bufbuild/protobuf';
import { durationFromMs, type FieldMask } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import {
  AgentSpecSchema,
  FailurePolicy_OnLoss,
  FailurePolicySchema,
  Relationship_Type,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type RegisterAgentRequest,
  type UpdateAgentRequest,
  UpdateAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { type FakeService, startFakeService } from '../support/fake-service.ts';
import { cli } from '../support/run-cli.ts';
import { sampleAgent } from '../support/sample-agents.ts';

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

const present = sampleAgent('a', {
  spec: {
    relationships: [
      { type: Relationship_Type.DEPENDS_ON, agentId: 'db' },
      { type: Relationship_Type.SUPERVISED_BY, agentId: 'boss' },
    ],
    failurePolicy: {
      onLoss: FailurePolicy_OnLoss.RELEASE,
      restart: { onLoss: true, maxAttempts: 3 },
    },
  },
});

/** Runs an update; `overtaken` times somebody else is faster. */
async function update(options: string, overtaken = 0) {
  const requests: UpdateAgentRequest[] = [];
  let reads = 0;
  service = await startFakeService({
    agent: {
      getAgent: () => ({ agent: { ...present, revision: 5n + BigInt(reads++) } }),
      updateAgent: (request) => {
        requests.push(request);
        if (requests.length <= overtaken) {
          throw new ConnectError('it is at another revision', Code.Aborted, undefined, [
            { desc: ErrorInfoSchema, value: { reason: 'REVISION_MISMATCH' } },
          ]);
        }
        return { agent: sampleAgent('a', { revision: 9n }) };
      },
    },
  });
  const argv = ['--server', service.address, ...`agents update a ${options}`.split(' ')];
  const run = await cli(argv);
  const paths = (request: UpdateAgentRequest | undefined) => (request?.updateMask as FieldMask)?.paths;
  return { ...run, requests, reads, paths: paths(requests[0]), spec: requests[0]?.spec };
}

describe('agents update', () => {
  it('names in the mask what was given, and sends nothing else', async () => {
    const { code, stdout, requests, paths, spec, reads } = await update(
      '--display-name A --kind b --agent-version 2 --capability x@1 --label tier=batch --label canary- ' +
        '--annotation note=a=b --capacity slots=9007199254740993 --capacity cpu_milli- --activity idle ' +
        '--forget-after 1h --expected-revision 5 -n lab',
    );
    expect(code).toBe(0);
    expect(paths).toEqual([
      'display_name',
      'kind',
      'version',
      'capabilities',
      'labels.tier',
      'labels.canary',
      'annotations.note',
      'capacity.slots',
      'capacity.cpu_milli',
      'activities',
      'forget_after',
    ]);
    expect(spec).toEqual(
      create(AgentSpecSchema, {
        displayName: 'A',
        kind: 'b',
        version: '2',
        capabilities: [{ name: 'x', version: '1' }],
        labels: { tier: 'batch' },
        annotations: { note: 'a=b' },
        capacity: { slots: 9007199254740993n },
        activities: [{ name: 'idle' }],
        forgetAfter: durationFromMs(3_600_000),
      }),
    );
    expect(requests[0]).toMatchObject({ namespace: 'lab', agentId: 'a', expectedRevision: 5n });
    expect(reads).toBe(0);
    expect(stdout).toMatch(/^updated a at revision 9: display_name, kind, .*forget_after\n$/);
  });

  it('keeps of the failure policy what is not named, at the revision that it read', async () => {
    const { requests, paths, spec } = await update(
      '--on-loss keep --no-restart-on-loss --quarantine-after 2 --cool-off 1m',
    );
    expect(paths).toEqual(['failure_policy']);
    expect(spec?.failurePolicy).toEqual(
      create(FailurePolicySchema, {
        onLoss: FailurePolicy_OnLoss.KEEP,
        restart: { onLoss: false, maxAttempts: 3 },
        quarantine: { maxFailures: 2, coolOff: durationFromMs(60_000) },
      }),
    );
    expect(requests[0]?.expectedRevision).toBe(5n);
  });

  it('keeps relationships of the other kind', async () => {
    const { paths, spec } = await update('--depends-on cache --depends-on queue');
    expect(paths).toEqual(['relationships']);
    expect(spec?.relationships.map(({ type, agentId }) => [type, agentId])).toEqual([
      [Relationship_Type.SUPERVISED_BY, 'boss'],
      [Relationship_Type.DEPENDS_ON, 'cache'],
      [Relationship_Type.DEPENDS_ON, 'queue'],
    ]);
  });

  it('begins again from what the agent is then, when somebody else was faster', async () => {
    const { code, requests } = await update('--max-restarts 7', 2);
    expect(code).toBe(0);
    expect(requests.map(({ expectedRevision }) => expectedRevision)).toEqual([5n, 6n, 7n]);
  });

  it('gives up when others are always faster, and at once at a revision that was named', async () => {
    const always = await update('--max-restarts 7', 99);
    expect([always.code, always.requests.length]).toEqual([4, 5]);
    await service?.close();
    const named = await update('--max-restarts 7 --expected-revision 5', 99);
    expect([named.code, named.requests.length]).toEqual([4, 1]);
  });

  it('empties a field, or replaces all of it', async () => {
    const { paths, spec, reads } = await update(
      '--clear failure-policy --max-restarts 2 --clear labels --label x=1 --clear forget-after',
    );
    expect(paths?.toSorted()).toEqual(['failure_policy', 'forget_after', 'labels']);
    expect(spec).toEqual(
      create(AgentSpecSchema, { labels: { x: '1' }, failurePolicy: { restart: { maxAttempts: 2 } } }),
    );
    expect(reads).toBe(0);
  });

  it('gives programs the response', async () => {
    const { stdout } = await update('--kind b -o json');
    expect(fromJson(UpdateAgentResponseSchema, JSON.parse(stdout)).agent?.revision).toBe(9n);
  });

  it.each([
    ['--expected-revision 5', 'nothing to change'],
    ['--label tier', 'key=value'],
    ['--label tier=a --label tier-', 'given twice'],
    ['--capacity slots=many', 'whole number'],
    ['--clear everything', 'allowed: display-name'],
    ['--on-loss forget', 'allowed: release, keep'],
    ['--quarantine-after 1', 'from 2 to 16'],
  ])('refuses %s before it calls the service', async (options, words) => {
    const { code, stderr, requests, reads } = await update(options);
    expect(code).toBe(2);
    expect(stderr).toContain(words);
    expect([requests.length, reads]).toEqual([0, 0]);
  });
});

describe('agents register', () => {
  it('sends the failure policy, and none where none is given', async () => {
    const seen: RegisterAgentRequest[] = [];
    service = await startFakeService({
      agent: {
        registerAgent: (request) => {
          seen.push(request);
          return { agent: present, agentToken: 't' };
        },
      },
    });
    const register = (line: string) =>
      cli(['--server', service?.address ?? '', ...`agents register a${line}`.split(' ')]);
    await register(
      ' --on-loss release --release-after 0s --restart-on-loss --restart-min-backoff 2s --restart-max-backoff 1m' +
        ' --restart-reset-after 5m --max-restarts 4 --no-quarantine --quarantine-window 3m',
    );
    await register(' --kind x');
    expect(seen[0]?.spec?.failurePolicy).toEqual(
      create(FailurePolicySchema, {
        onLoss: FailurePolicy_OnLoss.RELEASE,
        releaseAfter: durationFromMs(0),
        restart: {
          onLoss: true,
          minBackoff: durationFromMs(2_000),
          maxBackoff: durationFromMs(60_000),
          resetAfter: durationFromMs(300_000),
          maxAttempts: 4,
        },
        quarantine: { enabled: false, window: durationFromMs(180_000) },
      }),
    );
    expect(seen[1]?.spec?.failurePolicy).toBeUndefined();
  });
});
