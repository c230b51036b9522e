import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type CancelTaskRequest,
  type ListTasksRequest,
  type SubmitTaskRequest,
  type Task,
  Task_State,
  TaskAttempt_State,
  TaskSchema,
  TaskSpec_OnLoss,
  type WatchTasksRequest,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  PendingReason,
  Placement_Strategy,
} from '../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { timestampFromMs } from '../../src/lib/proto-time.ts';
import {
  type FakeService,
  type FakeServiceOptions,
  startFakeService,
  untilAborted,
} from '../support/fake-service.ts';
import { cli, startCli } from '../support/run-cli.ts';

type Methods = NonNullable<FakeServiceOptions['tasks']>;
type Init = Exclude<MessageInitShape<typeof TaskSchema>, { $typeName: string }>;
const { PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED, TIMED_OUT } = Task_State;

let service: FakeService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

async function serving(tasks: Methods): Promise<string[]> {
  service = await startFakeService({ tasks });
  return ['--server', service.address, 'tasks'];
}

const ago = (ms: number) => timestampFromMs(Date.now() - ms);
/** Half a minute above two hours, so that it reads the same however slow the test is: "2h00m". */
const TWO_HOURS = 7_230_000;
const refused = (reason: string, code: Code) => new ConnectError(reason, code, { 'error-reason': reason });
const text = (value: string) => ({ data: { case: 'text' as const, value } });

function task(state: Task_State, more: Init = {}): Task {
  return create(TaskSchema, {
    ...{ namespace: 'default', id: 't1', state, actor: 'ann', revision: 5n, createTime: ago(TWO_HOURS) },
    spec: { capability: 'sum' },
    ...more,
  });
}
const waits = (reason: PendingReason, detail: string) => ({
  pending: { reason, detail, sinceTime: ago(TWO_HOURS) },
});

describe('tasks submit', () => {
  async function submitting(more: Methods = {}, answer = task(PENDING, { pending: { reason: 13 } })) {
    const asked: SubmitTaskRequest[] = [];
    const start = await serving({
      submitTask: (request) => {
        asked.push(request);
        return { task: answer };
      },
      ...more,
    });
    return { start: [...start, 'submit'], asked };
  }

  it('asks for all that it is told, and prints the id', async () => {
    const { start, asked } = await submitting({}, task(Task_State.ASSIGNED, { agentId: 'a1' }));
    const words = [
      ...[
        'sum',
        '--id',
        'mine',
        '--json',
        '--input',
        '[1, 2]',
        '--resource',
        'cpu_milli=500',
        '--resource',
        'gpu=1',
      ],
      ...['--budget', 'tokens=1000', '--priority', '-5', '--deadline', '2h', '--attempt-timeout', '90s'],
      ...['--max-attempts', '4', '--min-backoff', '0s', '--on-loss', 'wait', '--wait-for-agent', '10m'],
      ...[
        '-l',
        'gpu=yes',
        '--strategy',
        'binpack',
        '--agent',
        'a1,a2',
        '--not-agent',
        'a3',
        '--label',
        'owner=team',
      ],
      ...['--parent', 'top', '--key', 'customer-7', '--must-fit', '--movable', '--request-id', 'r1'],
    ];
    const run = await cli([...start, ...words]);
    expect(run).toMatchObject({ code: 0, stdout: 't1\n', stderr: 'submitted: ASSIGNED on a1\n' });
    expect(asked).toMatchObject([
      {
        taskId: 'mine',
        mustFit: true,
        requestId: 'r1',
        spec: {
          capability: 'sum',
          input: { data: { case: 'json' } },
          resources: { cpu_milli: 500n, gpu: 1n },
          budgets: { tokens: 1000n },
          priority: -5,
          deadline: { seconds: 7200n },
          attemptTimeout: { seconds: 90n },
          retry: { maxAttempts: 4, minBackoff: { seconds: 0n } },
          onLoss: TaskSpec_OnLoss.WAIT,
          waitForAgent: { seconds: 600n },
          placement: {
            ...{ selector: 'gpu=yes', strategy: Placement_Strategy.BINPACK },
            ...{ agentIds: ['a1', 'a2'], notAgentIds: ['a3'] },
          },
          labels: { owner: 'team' },
          ...{ parentTaskId: 'top', orderingKey: 'customer-7', movable: true },
        },
      },
    ]);
  });

  it('says nothing of what it was not told', async () => {
    const { start, asked } = await submitting();
    expect(await cli([...start, 'sum'])).toMatchObject({ code: 0, stderr: 'submitted: PENDING: NEW\n' });
    const { spec } = asked[0] as SubmitTaskRequest;
    expect([spec?.input, spec?.placement, spec?.retry, spec?.deadline]).toEqual(Array(4).fill(undefined));
    expect(asked[0]?.requestId).not.toBe('');
  });

  it.each([
    ['no capability', [], 'capability'],
    ['broken JSON', ['sum', '--json', '--input', '{'], 'not JSON'],
    ['JSON of nothing', ['sum', '--json'], 'are about --input'],
    ['a priority beyond 100', ['sum', '--priority', '101'], '-100 to 100'],
    ['an amount without a number', ['sum', '--resource', 'gpu'], 'key=value'],
    ['a fraction', ['sum', '--resource', 'gpu=1.5'], 'a whole number'],
    ['a policy of none', ['sum', '--on-loss', 'panic'], 'replace, wait, reconcile'],
    ['a wait for nobody', ['sum', '--wait-for-agent', '1m'], '--on-loss wait'],
    ['a winner of nothing', ['sum', '--winner', 'original'], '--on-loss reconcile'],
    ['an interrupt of nothing', ['sum', '--cancel-on-interrupt'], '--wait'],
    ['a deadline of nothing', ['sum', '--deadline', '0s'], 'more than zero'],
  ])('with %s asks nothing, and the code is 2', async (_, words, hint) => {
    const { start, asked } = await submitting();
    const run = await cli([...start, ...words]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(hint);
    expect(asked).toEqual([]);
  });

  it.each([
    ['there is another with the id', 'TASK_EXISTS', Code.AlreadyExists, 4],
    ['nobody could ever do it', 'NEVER_FITS', Code.FailedPrecondition, 4],
    ['there is no such parent', 'TASK_NOT_FOUND', Code.NotFound, 3],
    ['there are too many', 'LIMIT_REACHED', Code.ResourceExhausted, 1],
  ])('where %s the code tells it', async (_, reason, code, exit) => {
    const { start } = await submitting({
      submitTask: () => {
        throw refused(reason, code);
      },
    });
    const run = await cli([...start, 'sum']);
    expect(run).toMatchObject({ code: exit, stdout: '' });
    expect(run.stderr).toContain(reason);
  });
});

describe('tasks submit --wait', () => {
  const attempts = [
    { number: 1, agentId: 'a1', state: TaskAttempt_State.RUNNING, acceptTime: ago(TWO_HOURS) },
  ];
  const running = task(RUNNING, { agentId: 'a1', attemptCount: 1, attempts, revision: 7n });
  const progress = { done: 450n, total: 1000n, name: 'rows\u001b[2J' };
  const halfway = task(RUNNING, { agentId: 'a1', attemptCount: 1, attempts, revision: 7n, progress });
  const full = task(PENDING, waits(PendingReason.NO_ROOM, '3 agents are full'));

  const over: Init = { agentId: 'a1', attemptCount: 1, revision: 9n, endTime: ago(0) };

  /** A task that waits, runs, and ends so. */
  async function going(state: Task_State, said: Init = over, more: Methods = {}) {
    const end = task(state, said);
    const watched: WatchTasksRequest[] = [];
    const start = await serving({
      submitTask: () => ({ task: full }),
      async *watchTasks(request: WatchTasksRequest, { signal }: { signal: AbortSignal }) {
        watched.push(request);
        yield { changes: [{ task: full }] };
        yield { synced: true, cursor: 'c1' };
        yield { changes: [{ task: running }], synced: true, cursor: 'c2' };
        yield {
          changes: [{ task: halfway, progressOnly: true }],
          synced: true,
          cursor: 'c2',
        };
        yield { changes: [{ task: task(state, { id: 'another' }) }], synced: true, cursor: 'c2' };
        yield { changes: [{ task: end }], synced: true, cursor: 'c3' };
        await untilAborted(signal);
      },
      getTask: () => ({ task: task(state, { ...said, output: text('6\u001b[2J') }) }),
      ...more,
    });
    return { words: [...start, 'submit', 'sum', '--wait'], start, watched };
  }

  it('prints the output as it is, and how it goes on stderr', async () => {
    const { words, watched } = await going(SUCCEEDED);
    const run = await cli(words);
    expect(run).toMatchObject({ code: 0, stdout: '6\u001b[2J' });
    const lines = run.stderr.trim().split('\n');
    expect(lines).toEqual([
      'submitted: t1',
      't1 PENDING: NO_ROOM for 2h00m: 3 agents are full',
      't1 RUNNING on a1 for 2h00m',
      't1 SUCCEEDED on a1 after 2h00m',
    ]);
    expect(watched).toMatchObject([{ taskId: 't1' }]);
    expect(watched[0]?.progressInterval).toBeUndefined();
  });

  it('has a bar on a terminal, and shows nothing unescaped', async () => {
    const { words, watched } = await going(SUCCEEDED);
    const run = await cli([...words, '--color', 'never'], { columns: 80 });
    expect(run.code).toBe(0);
    expect(run.stderr).toContain('t1 PENDING: NO_ROOM for 2h00m: 3 agents are full');
    expect(run.stderr).toContain('███████████·············');
    expect(run.stderr).toContain('rows\\x1b[2J 450 of 1,000 (45 %)');
    expect(run.stdout).toBe('6\\x1b[2J\n');
    expect(watched[0]?.progressInterval).toBeDefined();
  });

  it.each([
    ['SUCCEEDED', SUCCEEDED, 0],
    ['FAILED', FAILED, 1],
    ['CANCELLED', CANCELLED, 6],
    ['TIMED_OUT', TIMED_OUT, 7],
  ])('of a task that is %s ends with its code', async (name, state, code) => {
    const { words } = await going(state, { ...over, error: code === 0 ? '' : 'no more\u001b[2J' });
    const run = await cli(words);
    expect(run.code).toBe(code);
    expect(run.stderr).toContain(`t1 ${name}`);
    if (code !== 0)
      expect(run).toMatchObject({ stdout: '', stderr: expect.stringContaining('no more\\x1b[2J') });
  });

  it('is JSON for programs', async () => {
    const { words } = await going(FAILED, { ...over, error: 'no' });
    const run = await cli([...words, '-o', 'json']);
    expect(run.code).toBe(1);
    expect(JSON.parse(run.stdout)).toMatchObject({ task: { id: 't1', state: 'STATE_FAILED', error: 'no' } });
  });

  it('sees the end also of what had ended before it could be watched', async () => {
    const { words } = await going(SUCCEEDED, over, {
      async *watchTasks(_request, { signal }) {
        yield { synced: true, cursor: 'c1' };
        await untilAborted(signal);
      },
    });
    expect(await cli(words)).toMatchObject({ code: 0, stdout: '6\u001b[2J' });
  });

  async function hanging(more: Methods = {}) {
    return going(SUCCEEDED, over, {
      async *watchTasks(_request, { signal }) {
        yield { changes: [{ task: running }], synced: true, cursor: 'c1' };
        await untilAborted(signal);
      },
      ...more,
    });
  }

  it('leaves the task as it is at Ctrl-C, and says how to end it', async () => {
    const { words } = await hanging();
    const run = startCli(words);
    await run.shows('RUNNING on a1');
    run.interrupt();
    expect(await run.ended).toBe(130);
    expect(run.stderr).toContain('the task goes on; orchestrator tasks watch t1, or … cancel t1');
  });

  it('cancels it at Ctrl-C where that was asked for', async () => {
    const asked: CancelTaskRequest[] = [];
    const { words } = await hanging({
      cancelTask: (request) => {
        asked.push(request);
        return { cancelled: true };
      },
    });
    const run = startCli([...words, '--cancel-on-interrupt']);
    await run.shows('RUNNING on a1');
    run.interrupt();
    expect(await run.ended).toBe(130);
    expect(asked).toMatchObject([{ taskId: 't1' }]);
    expect(run.stderr).toContain('t1 is cancelled');
  });

  it('is what tasks watch of one task does', async () => {
    const { start } = await going(
      FAILED,
      { ...over, error: 'no' },
      {
        getTask: ({ minRevision }) => ({
          task: minRevision < 9n ? running : task(FAILED, { ...over, error: 'no' }),
        }),
      },
    );
    const run = await cli([...start, 'watch', 't1']);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toContain('t1 FAILED: no');
  });
});

describe('tasks list, get, watch, cancel and grant', () => {
  it('lists tasks over all pages, and why each one waits', async () => {
    const asked: ListTasksRequest[] = [];
    const start = await serving({
      listTasks: (request) => {
        asked.push(request);
        const first = request.pageToken === '';
        return {
          tasks: first
            ? [task(PENDING, waits(PendingReason.QUOTA, 'owner team-a has 4 of 4 tasks\u202e'))]
            : [
                task(RUNNING, {
                  id: 't2',
                  agentId: 'a1',
                  attemptCount: 2,
                  ...{ progress: { done: 5n, total: 10n } },
                }),
              ],
          nextPageToken: first ? 'next' : '',
          counts: [
            { state: PENDING, tasks: 1200 },
            { state: RUNNING, tasks: 1 },
          ],
        };
      },
    });
    const run = await cli([...start, 'list', '--owner', 'team-a', '--capability', 'sum,add', '-l', 'x=y']);
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(
      /\nt1 +sum +PENDING .*QUOTA for 2h00m: owner team-a has 4 of 4 tasks\\u\{202e\}\n/,
    );
    expect(run.stdout).toMatch(/\nt2 +sum +RUNNING +a1 +2 .*5 of 10 \(50 %\)\n/);
    expect(run.stderr).toContain('1,200 PENDING, 1 RUNNING');
    expect(asked.map(({ pageToken }) => pageToken)).toEqual(['', 'next']);
    expect(asked[0]?.filter).toMatchObject({
      ...{ owner: 'team-a', capabilities: ['sum', 'add'], labelSelector: 'x=y', states: [] },
    });
    await cli([...start, 'list', '--state', 'failed,timed_out', '--limit', '1']);
    expect(asked.at(-1)).toMatchObject({ pageSize: 1, filter: { states: [FAILED, TIMED_OUT] } });
    await cli([...start, 'list', '--all']);
    expect(asked.at(-1)?.filter?.states).toHaveLength(7);
    expect(asked.at(-1)?.filter?.owner).toBeUndefined();
    expect(await cli([...start, 'list', '--all', '--state', 'failed'])).toMatchObject({ code: 2 });
  });

  it('shows one task with all that is known of it', async () => {
    const start = await serving({
      getTask: ({ taskId }) => {
        if (taskId !== 't1') throw refused('TASK_NOT_FOUND', Code.NotFound);
        return {
          task: task(FAILED, {
            spec: { capability: 'sum', resources: { memory_bytes: 2_147_483_648n }, labels: { owner: 'o' } },
            ...{ error: 'out of memory', spent: { tokens: 900n }, budgets: { tokens: 1000n } },
            attemptCount: 12,
            attempts: [
              { number: 11, agentId: 'a1', state: TaskAttempt_State.AGENT_LOST, error: 'lost' },
              {
                number: 12,
                agentId: 'a2',
                state: TaskAttempt_State.FAILED,
                error: 'oom',
                placement: 'best of 3',
              },
            ],
          }),
        };
      },
    });
    const run = await cli([...start, 'get', 't1']);
    expect(run.stdout).toMatch(/error +out of memory\n/);
    expect(run.stdout).toMatch(/needs +memory_bytes 2 GiB\n/);
    expect(run.stdout).toMatch(/spent +tokens 900 of 1,000\n/);
    expect(run.stdout).toMatch(/ 12 {2}a2 +FAILED .*best of 3 +oom\n/);
    expect(run.stdout).toContain('and 10 before them');
    expect(await cli([...start, 'get', 'other'])).toMatchObject({ code: 3 });
    expect(await cli([...start, 'get', 't1', '--result'])).toMatchObject({ code: 1, stdout: '' });
  });

  it('waits for an end, and prints nothing but the output where that is wanted', async () => {
    const asked: unknown[] = [];
    const start = await serving({
      getTask: (request) => {
        asked.push(request);
        return { task: task(SUCCEEDED, { output: text('42') }) };
      },
    });
    expect(await cli([...start, 'get', 't1', '--wait', '5s', '--result'])).toMatchObject({
      code: 0,
      stdout: '42',
    });
    expect(asked).toMatchObject([{ taskId: 't1', wait: { seconds: 5n } }]);
  });

  it('follows all tasks, a line for each change', async () => {
    const start = await serving({
      async *watchTasks({ filter, progressInterval }, { signal }) {
        expect(filter?.owner).toBe('o');
        expect(progressInterval?.seconds).toBe(5n);
        yield { changes: [{ task: task(RUNNING, { agentId: 'a1' }) }], synced: true, cursor: 'c' };
        yield { changes: [{ task: task(FAILED, { error: 'no' }) }], synced: true, cursor: 'd' };
        await untilAborted(signal);
      },
    });
    const run = startCli([...start, 'watch', '--owner', 'o', '--progress', '5s']);
    await run.shows('t1 FAILED: no');
    run.interrupt();
    expect(await run.ended).toBe(130);
    expect(run.stdout).toContain('t1 RUNNING on a1');
    expect(run.stdout).toContain('changes follow as they happen');
    expect(await cli([...start, 'watch', 't1', '--owner', 'o'])).toMatchObject({ code: 2 });
  });

  it('cancels tasks, and says of which it was too late', async () => {
    const asked: CancelTaskRequest[] = [];
    const start = await serving({
      cancelTask: (request) => {
        asked.push(request);
        const late = request.taskId === 'late';
        return { task: task(late ? SUCCEEDED : CANCELLED, { id: request.taskId }), cancelled: !late };
      },
    });
    const run = await cli([...start, 'cancel', 't1', 't1', '--reason', 'enough', '--request-id', 'r']);
    expect(run).toMatchObject({ code: 0, stdout: 'cancelled: t1 at revision 5\n' });
    const late = await cli([...start, 'cancel', 't1', 'late', '--request-id', 'r']);
    expect(late.code).toBe(4);
    expect(late.stdout).toContain('had ended: late is SUCCEEDED');
    expect(asked.map(({ taskId, reason }) => [taskId, reason])).toEqual([
      ['t1', 'enough'],
      ['t1', ''],
      ['late', ''],
    ]);
    // A repeat of the command is the same request for each of its tasks, and another one for each of them.
    expect(asked[0]?.requestId).toBe(asked[1]?.requestId);
    expect(asked[1]?.requestId).not.toBe(asked[2]?.requestId);
  });

  it('grants more to spend', async () => {
    const asked: unknown[] = [];
    const start = await serving({
      grantTaskBudget: (request) => {
        asked.push(request);
        return { task: task(RUNNING, { spent: { tokens: 5n }, budgets: { tokens: 1500n } }) };
      },
    });
    const run = await cli([...start, 'grant', 't1', 'tokens=1000', 'calls=2']);
    expect(run).toMatchObject({ code: 0, stdout: 'granted: t1 has spent tokens 5 of 1,500\n' });
    expect(asked).toMatchObject([{ taskId: 't1', budgets: { tokens: 1000n, calls: 2n } }]);
    expect(await cli([...start, 'grant', 't1', 'tokens'])).toMatchObject({ code: 2 });
  });
});

describe('tasks explain', () => {
  it('says why a task waits: what excludes agents, what is exhausted, which quota, who is best', async () => {
    const start = await serving({
      explainTask: () => ({
        task: task(PENDING, {
          ...waits(PendingReason.NO_ROOM, '2 agents are full'),
          attempts: [{ number: 1, agentId: 'a9', state: TaskAttempt_State.DECLINED, error: 'busy\u001b[2J' }],
          attemptCount: 1,
        }),
        summary: 'It waits: 2 agents are full.',
        aheadOfOwner: 3,
        waitingOfOthers: 7,
        placement: {
          ...{ placeable: false, reason: PendingReason.NO_ROOM, detail: '2 agents are full' },
          ...{ agents: 10, eligible: 3, fitting: 1, couldEver: false },
          excluded: [{ constraint: 'selector', detail: 'gpu=yes', agents: 7, examples: ['b1', 'b2'] }],
          exhausted: [
            {
              resource: 'memory_bytes',
              needed: 8_589_934_592n,
              agents: 2,
              mostFree: 1_073_741_824n,
              largestCapacity: 17_179_869_184n,
            },
          ],
          quotas: [{ owner: 'team-a', resource: 'tasks', needed: 1n, used: 4n, limit: 4n }],
          scores: [{ agentId: 'a3', score: 0.75, parts: { fill: 0.5, load: 1 } }],
        },
        revision: 9n,
      }),
    });
    const { stdout, code } = await cli([...start, 'explain', 't1']);
    expect(code).toBe(0);
    expect(stdout).toContain('t1 (sum) is PENDING\nIt waits: 2 agents are full.\n');
    expect(stdout).toMatch(/because of +NO_ROOM for 2h00m\n/);
    expect(stdout.match(/2 agents are full/g)).toHaveLength(1);
    expect(stdout).toMatch(/before it +3 of the same owner\n/);
    expect(stdout).toContain('10 agents, 3 of them could have it if they were empty and there, 1 fit now');
    expect(stdout).toContain('no agent that is known could ever have it');
    expect(stdout).toMatch(/ 7 {2}selector +gpu=yes +b1, b2\n/);
    expect(stdout).toMatch(/ 2 {2}memory_bytes +8 GiB +1 GiB +16 GiB\n/);
    expect(stdout).toContain('tasks of owner team-a: needs 1, 4 of 4 are taken');
    expect(stdout).toMatch(/a3 +0\.750 ████████·· +0\.50 +1\.00\n/);
    expect(stdout).toMatch(/ 1 {2}a9 +DECLINED .*busy\\x1b\[2J\n/);
  });

  it('tells of a task that runs how its delivery stands', async () => {
    const start = await serving({
      explainTask: () => ({
        task: task(RUNNING, { agentId: 'a1' }),
        summary: 'It runs.',
        delivery: 'accepted 4s ago at replica r1',
        progress: [{ name: 'rows', done: 4n }],
      }),
    });
    const { stdout } = await cli([...start, 'explain', 't1']);
    expect(stdout).toContain('t1 (sum) is RUNNING, agent a1\n');
    expect(stdout).toContain('accepted 4s ago at replica r1\n  rows 4');
    expect(stdout).not.toContain('It waits');
  });
});
