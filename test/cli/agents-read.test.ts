import { create, fromJson } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  Drain_State,
  FailurePolicy_OnLoss,
  ProcessReport_State,
  ProcessReportSchema,
  Restart_State,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  ExplainAgentResponseSchema,
  GetAgentResponseSchema,
  type ListAgentsRequest,
  ListAgentsResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { SystemStatusSchema } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { type FakeService, type FakeServiceOptions, startFakeService } from '../support/fake-service.ts';
import { type CliRunOptions, cli } from '../support/run-cli.ts';
import { sampleAgent, sampleTimeMs } from '../support/sample-agents.ts';

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

async function run(argv: string[], fake: FakeServiceOptions, options: CliRunOptions = {}) {
  service = await startFakeService(fake);
  return cli(['--server', service.address, ...argv], options);
}

const row = (stdout: string, id: string) => stdout.split('\n').find((line) => line.startsWith(id)) ?? '';

describe('agents list', () => {
  it('reads every page and shows one agent a line', async () => {
    const agents = ['a', 'b', 'c', 'd', 'e'].map((id) => sampleAgent(id));
    const { code, stdout, stderr } = await run(['agents', 'list'], { agents });
    expect(code).toBe(0);
    expect(stderr).toBe('');
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(6);
    expect(lines[0]).toMatch(/^ID +KIND +PHASE +LIVENESS +HEALTH +RTT P50\/P95 +LOAD +READING +VERSION$/);
    expect(lines[1]).toMatch(
      /^a +summarizer +ACTIVE +CONNECTED +0\.98 +1\.2ms\/80ms +0\.42 +\d\.\ds +1\.4\.0$/,
    );
  });

  it('stops at --limit and says how many are missing', async () => {
    const agents = ['a', 'b', 'c', 'd', 'e'].map((id) => sampleAgent(id));
    const { stdout, stderr } = await run(['agents', 'list', '--limit', '3'], { agents });
    expect(stdout.trimEnd().split('\n')).toHaveLength(4);
    expect(stderr).toContain('2 more of 5');
  });

  it('never shows the last reading of an agent without a session as if it were of now', async () => {
    const agents = [
      sampleAgent('lost', { liveness: Agent_Liveness.LOST }, 252_000),
      sampleAgent('gone', { liveness: Agent_Liveness.DISCONNECTED }),
      sampleAgent('left', { liveness: Agent_Liveness.LEFT }),
    ];
    const { stdout } = await run(['agents', 'list'], { agents });
    expect(row(stdout, 'lost')).toMatch(/LOST +– +– +– +4m1\ds old/);
    expect(row(stdout, 'gone')).toMatch(/DISCONNECTED +– +– +– +\d\.\ds old/);
    expect(row(stdout, 'left')).toMatch(/LEFT +– +– +– +\d\.\ds old/);
    expect(stdout).not.toContain('0.98');
  });

  it('marks a connected agent that nobody measures any more', async () => {
    const { stdout } = await run(['agents', 'list'], { agents: [sampleAgent('quiet', {}, 26_000)] });
    expect(row(stdout, 'quiet')).toMatch(/CONNECTED\? +\(0\.98\) +\(1\.2ms\/80ms\) +\(0\.42\) +2\ds stale/);
  });

  it('allows older readings where the service pings more rarely', async () => {
    const status = create(SystemStatusSchema, {
      replica: { id: 'r1', pingInterval: durationFromMs(60_000) },
    });
    const { stdout } = await run(['agents', 'list'], { agents: [sampleAgent('slow', {}, 26_000)], status });
    expect(row(stdout, 'slow')).toMatch(/CONNECTED +0\.98 +1\.2ms\/80ms +0\.42 +2\ds/);
  });

  it('sends the filters, given with commas or repeated, in any case', async () => {
    const seen: ListAgentsRequest[] = [];
    await run(
      'agents list --capability a,b -l tier=web --phase active --liveness LOST,never-seen --kind x --kind y -n lab'.split(
        ' ',
      ),
      {
        agent: {
          listAgents: (request) => {
            seen.push(request);
            return {};
          },
        },
      },
    );
    expect(seen[0]).toMatchObject({
      namespace: 'lab',
      filter: {
        capabilities: ['a', 'b'],
        labelSelector: 'tier=web',
        phases: [2],
        liveness: [5, 1],
        kinds: ['x', 'y'],
      },
    });
  });

  it('gives programs the response in protobuf JSON, on one page', async () => {
    const agents = ['a', 'b', 'c'].map((id) => sampleAgent(id));
    const { stdout } = await run(['agents', 'list', '-o', 'json'], { agents });
    const response = fromJson(ListAgentsResponseSchema, JSON.parse(stdout));
    expect(response).toEqual(
      create(ListAgentsResponseSchema, { agents, revision: 7n, totalSize: 3, nextPageToken: '' }),
    );
  });

  it('gives programs an empty list when nothing matches, and people a notice', async () => {
    expect(JSON.parse((await run(['agents', 'list', '-o', 'json'], {})).stdout)).toMatchObject({
      agents: [],
      totalSize: 0,
    });
    const { code, stdout, stderr } = await cli(['--server', service?.address ?? '', 'agents', 'list']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toContain('no agents match');
  });

  it('lets no agent write to the terminal', async () => {
    const evil = '\u001b]0;owned\u0007\u001b[2J\u202egnp\u009b31m\nb';
    const agents = [sampleAgent('evil', { spec: { kind: evil, version: evil } })];
    for (const format of ['table', 'wide', 'json']) {
      const { stdout } = await run(['agents', 'list', '-o', format], { agents }, { env: { NO_COLOR: '1' } });
      await service?.close();
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
      if (format === 'json') expect(JSON.parse(stdout).agents[0].spec.kind).toBe(evil);
      else expect(stdout).toContain('\\x1b]0;owned\\x07');
    }
  });

  it('fits a narrow terminal and keeps what matters most', async () => {
    const agents = [sampleAgent('a-very-long-name-of-an-agent-that-does-not-end')];
    const { stdout } = await run(
      ['agents', 'list', '-o', 'wide', '--color', 'never'],
      { agents },
      { columns: 60 },
    );
    for (const line of stdout.trimEnd().split('\n')) expect([...line].length).toBeLessThanOrEqual(60);
    expect(stdout).toMatch(/a-very-[a-z-]*… .*CONNECTED +0\.98.* \d\.\ds/);
  });
});

describe('what was ordered of agents', () => {
  const drain = {
    reason: 'kernel update',
    actor: 'alice',
    startTime: timestampFromMs(sampleTimeMs - 60_000),
    deadlineTime: timestampFromMs(sampleTimeMs + 240_000),
    state: Drain_State.RUNNING,
    running: ['job-1', 'job\u001b[2J', 'c', 'd', 'e', 'f'],
    deliveryId: 'd-9',
  };
  const quarantine = {
    reason: '5 failures within 10m',
    actor: 'rule:flapping',
    startTime: timestampFromMs(sampleTimeMs - 60_000),
    endTime: timestampFromMs(sampleTimeMs + 540_000),
    verdict: { rule: 'flapping', detail: 'crashed 5 times', time: timestampFromMs(sampleTimeMs - 60_000) },
  };
  const restart = { attempt: 3, byAgentId: 'boss', state: Restart_State.PLANNED };

  it('is noted in the list, for those of whom there is something to say', async () => {
    const endTime = timestampFromMs(sampleTimeMs - 3_000);
    const declined = { ...drain, state: Drain_State.DECLINED, error: 'busy', endTime };
    const passed = { ...drain, state: Drain_State.DEADLINE_PASSED };
    const agents = [
      sampleAgent('draining', { phase: Agent_Phase.DRAINING, drain }),
      sampleAgent('drained', { phase: Agent_Phase.DRAINED, drain: passed }),
      sampleAgent('flapping', { phase: Agent_Phase.QUARANTINED, quarantine, restart }),
      sampleAgent('refusing', { drain: declined }),
      sampleAgent('fine', { drain: { ...drain, state: Drain_State.STOPPED } }),
    ];
    const { stdout } = await run(['agents', 'list'], { agents });
    expect(row(stdout, 'draining')).toMatch(/ DRAINING .*1\.4\.0 +4m00s left, 6 still run$/);
    expect(row(stdout, 'drained')).toMatch(/ DRAINED .* by deadline, may still work$/);
    expect(row(stdout, 'flapping')).toMatch(
      / QUARANTINED .* 9m00s left: 5 failures within 10m; restart planned$/,
    );
    expect(row(stdout, 'refusing')).toMatch(/ ACTIVE .* refused to drain: busy$/);
    expect(row(stdout, 'fine')).toMatch(/1\.4\.0$/);
  });

  it('stands in a section of its own, with who and why, all of what still runs, and the evidence', async () => {
    const agents = [
      sampleAgent('a', { phase: Agent_Phase.QUARANTINED, drain, quarantine, restart }),
      sampleAgent('b'),
    ];
    const { stdout } = await run(['agents', 'get', 'a'], { agents });
    const masked = stdout.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE');
    expect(masked).toContain(`
Quarantine
  lasts    until DATE, 9m00s left
  ordered  DATE (1m00s ago), by rule:flapping
  reason   5 failures within 10m
  rule     flapping: crashed 5 times
  when     DATE (1m00s ago), by ?

Last drain
  stands    draining, 4m00s left; still running: job-1, job\\x1b[2J, c, d, e and 1 more
            f
  ordered   DATE (1m00s ago), by alice
  reason    kernel update
  delivery  d-9

Restart
  stands  restart planned: boss will be told, the 3rd time in a row
`);
    expect((await cli(['--server', service?.address ?? '', 'agents', 'get', 'b'])).stdout).not.toMatch(
      /Drain|Quarantine|Restart/,
    );
  });

  it('shows the policy that the agent has of its own, and how its process is', async () => {
    const agent = sampleAgent('a', {
      spec: { failurePolicy: { onLoss: FailurePolicy_OnLoss.KEEP, restart: { maxAttempts: 3 } } },
    });
    const report = agent.observation?.report;
    if (report !== undefined) {
      report.process = {
        ...create(ProcessReportSchema, {
          state: ProcessReport_State.BACKOFF,
          starts: 4,
          restartIn: durationFromMs(4_000),
          exits: [{ start: 4, exitCode: 1, ran: durationFromMs(3_100) }],
        }),
      };
    }
    const { stdout } = await run(['agents', 'get', 'a'], { agents: [agent] });
    expect(stdout).toMatch(/on loss +its work waits for it\nrestart +at most 3 in a row\n/);
    expect(stdout).toMatch(
      /process +is down, again in 4\.0s, started 4 times\n +ended last with code 1 after 3\.1s\n/,
    );
  });
});

describe('agents get', () => {
  it('shows what was declared, judged and measured, with the age of the reading', async () => {
    const { stdout } = await run(['agents', 'get', 'a'], { agents: [sampleAgent('a')] });
    expect(stdout).toContain('labels        env=prod,tier=web');
    expect(stdout).toMatch(/Reading is 1\.2s old/);
    expect(stdout).toMatch(/health +0\.98/);
    expect(stdout).toMatch(/rule +attached: opened a session/);
    expect(stdout).toContain('busy with indexing, load 0.42 1.2s ago');
  });

  it('says before the figures that a lost agent has none now', async () => {
    const agents = [sampleAgent('a', { liveness: Agent_Liveness.LOST }, 252_000)];
    const { stdout } = await run(['agents', 'get', 'a', '--color', 'always'], { agents });
    expect(stdout).toContain('of the past: \u001b[0mthe last one, 4m12s ago; there is no session now');
    // Green never appears: nothing of it looks healthy.
    expect(stdout).not.toContain('\u001b[32m');
  });

  it('ends with code 3 for an agent that does not exist', async () => {
    const { code, stdout, stderr } = await run(['agents', 'get', 'nobody'], {});
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toBe('error: there is no agent "nobody" (NOT_FOUND)\n');
  });

  it('gives programs the response', async () => {
    const { stdout } = await run(['agents', 'get', 'a', '-o', 'json'], { agents: [sampleAgent('a')] });
    expect(fromJson(GetAgentResponseSchema, JSON.parse(stdout)).agent).toEqual(sampleAgent('a'));
  });
});

describe('agents explain', () => {
  const response = create(ExplainAgentResponseSchema, {
    agent: sampleAgent('a', {
      liveness: Agent_Liveness.SUSPECT,
      verdict: {
        time: timestampFromMs(sampleTimeMs - 2_000),
        rule: 'phi',
        detail: 'two probes unanswered',
        replicaId: 'r1',
        epoch: 3n,
        phi: 6.2,
        unansweredProbes: 2,
        silence: durationFromMs(7_000),
        sampleMs: [1, 2, 8],
        observer: {
          eventLoopDelay: durationFromMs(4_000),
          ownStall: durationFromMs(3_900),
          storeAvailable: true,
          shareInTrouble: 0.6,
        },
      },
    }),
    summary: 'It answered late twice.',
    signals: [
      {
        name: 'responsive',
        value: 0.2,
        evidence: 'suspicion 6.2 of 5',
        time: timestampFromMs(sampleTimeMs - 3_000),
      },
    ],
    deadlines: [{ rule: 'lease', liveness: Agent_Liveness.LOST, remaining: durationFromMs(23_000) }],
    verdicts: [
      {
        time: timestampFromMs(sampleTimeMs - 2_000),
        rule: 'phi',
        epoch: 3n,
        phi: 6.2,
        unansweredProbes: 2,
        silence: durationFromMs(7_000),
      },
    ],
    sampleMs: [1, 1, 1, 8],
  });

  it('shows signals, what comes next and the evidence with the state of the observer', async () => {
    const { stdout } = await run(['agents', 'explain', 'a'], { agent: { explainAgent: () => response } });
    expect(stdout).toContain('a is SUSPECT, ACTIVE\nIt answered late twice.');
    expect(stdout).toMatch(/responsive +0\.20 ██········ +3\.0s ago +suspicion 6\.2 of 5/);
    expect(stdout).toContain('in 23s  LOST by rule lease');
    expect(stdout).toContain('session epoch 3, silent for 7.0s, 2 unanswered probes, suspicion 6.2');
    expect(stdout).toContain(
      'longest event-loop delay 4.0s, stood still 3.9s, store reachable\n            60% of its sessions in trouble',
    );
    expect(stdout).toContain('▂▂▂█  4 answers: 1.0ms at least, median 1.0ms, 8.0ms at most');
  });

  it('says first what is done about it', async () => {
    const told = {
      ...response,
      actions: ['The brake of zone-a holds its work.', 'It\u001b[2J is not restarted.'],
    };
    const { stdout } = await run(['agents', 'explain', 'a'], { agent: { explainAgent: () => told } });
    expect(stdout.indexOf('What is done about it\n  The brake of zone-a holds its work.\n')).toBeGreaterThan(
      0,
    );
    expect(stdout.indexOf('What is done')).toBeLessThan(stdout.indexOf('Signals'));
    expect(stdout).toContain('  It\\x1b[2J is not restarted.\n');
  });

  it('shows the mailbox, how the process ended with its last lines, failures and the policy in force', async () => {
    const { mailbox, exits, failures, failurePolicy } = create(ExplainAgentResponseSchema, {
      mailbox: [
        {
          work: { deliveryId: 'd-9', attempt: 4n },
          item: 'command drain',
          accepted: true,
          tries: 2,
          age: durationFromMs(60_000),
          timeLeft: durationFromMs(240_000),
          waitsFor: 'the agent',
        },
        { work: { deliveryId: 'm-10' }, item: 'message chat', age: durationFromMs(3_000), waitsFor: 'd-9' },
      ],
      exits: [
        {
          start: 4,
          exitCode: 1,
          ran: durationFromMs(3_100),
          time: timestampFromMs(sampleTimeMs - 9_000),
          lastLines: ['Traceback:', '  line 3', '\u001b]0;owned\u0007oops'],
        },
        { start: 3, signal: 'SIGKILL', ran: durationFromMs(1_000) },
        { start: 2, exitCode: 0, requested: true, lastLines: ['bye'] },
      ],
      failures: [{ kind: 'crashed', time: timestampFromMs(sampleTimeMs - 9_000) }],
      failurePolicy: {
        onLoss: FailurePolicy_OnLoss.RELEASE,
        releaseAfter: durationFromMs(0),
        restart: {
          onLoss: true,
          minBackoff: durationFromMs(1_000),
          maxBackoff: durationFromMs(300_000),
          maxAttempts: 3,
          resetAfter: durationFromMs(600_000),
        },
        quarantine: { enabled: true, maxFailures: 5, window: durationFromMs(600_000) },
      },
    });
    const told = { ...response, mailbox, mailboxSize: 12, exits, failures, failurePolicy };
    const { stdout } = await run(['agents', 'explain', 'a'], { agent: { explainAgent: () => told } });
    expect(stdout).toContain(`
Mailbox, oldest first, the first 2 of 12
  DELIVERY  ITEM           IS        TRIES    AGE   LEFT  WAITS FOR
  d-9       command drain  accepted      2  1m00s  4m00s  the agent
  m-10      message chat   waiting       0   3.0s      –  d-9

Process, its last ends first
  start 4, 9.0s ago: code 1 after 3.1s
    │ Traceback:
    │   line 3
    │ \\x1b]0;owned\\x07oops
  start 3: SIGKILL after 1.0s, it wrote nothing
  start 2: code 0, as it was told to
    │ bye

Failures that count, newest first
  9.0s ago  crashed

If it fails
  on loss     its work is released at once
  restart     by its supervisor after a loss, pauses from 1.0s to 5m00s
              at most 3 in a row, anew after 10m00s attached
  quarantine  after 5 failures within 10m00s
`);
  });

  it('tells in a verdict how much of the fleet and of the zone was in trouble', async () => {
    const observer = {
      eventLoopDelay: durationFromMs(12),
      storeAvailable: true,
      shareInTrouble: 0.12,
      zoneShareInTrouble: 0.6,
      agents: 500,
    };
    const agent = sampleAgent('a', { verdict: { rule: 'lease', observer } });
    const { stdout } = await run(['agents', 'get', 'a'], { agents: [agent] });
    expect(stdout).toContain(
      'store reachable\n            12% of 500 agents and 60% of its zone in trouble\n',
    );
  });

  it('gives programs the response', async () => {
    const { stdout } = await run(['agents', 'explain', 'a', '-o', 'json'], {
      agent: { explainAgent: () => response },
    });
    expect(fromJson(ExplainAgentResponseSchema, JSON.parse(stdout))).toEqual(response);
  });
});
