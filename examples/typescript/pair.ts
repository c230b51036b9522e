// Two agents that call each other: node dist/examples/typescript/pair.js 127.0.0.1:50051
//
// "teacher" asks "pupil" for the solution of an exercise; while the pupil works on it, it asks the teacher for a hint. Each
// solution is published on a topic that both hear. Ctrl-C ends both.
import { setTimeout as sleep } from 'node:timers/promises';
// In a project of your own: from '@mycosoft/orchestrator/client'.
import { type AgentHandle, CallFailedError, connectAgent, PermanentError } from '../../src/client/index.ts';

interface Exercise {
  numbers: number[];
}

const [server = '127.0.0.1:50051'] = process.argv.slice(2);
const stopping = new AbortController();
const { signal } = stopping;
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());

/** The one who is asked. More than one message at a time: while it solves one exercise it may be asked for the next. */
async function startPupil(): Promise<AgentHandle> {
  const pupil = await connectAgent({
    server,
    id: 'pupil',
    spec: { kind: 'pupil', capabilities: [{ name: 'solve' }] },
    maxInFlight: 4,
    signal,
  });
  pupil.onCall('exercise', async ({ data }, context) => {
    const { numbers } = data as unknown as Exercise;
    if (numbers.length === 0) throw new PermanentError('there is nothing to add up');
    // A call within a call. It stops with the one that it is for: when the teacher gives up or is lost.
    const hint = await pupil.call(
      'teacher',
      { type: 'hint', data: numbers.length },
      { signal: context.signal },
    );
    console.log(`pupil: the hint is "${hint.data}"`);
    return { sum: numbers.reduce((sum, number) => sum + number, 0), attempt: String(context.attempt) };
  });
  pupil.onMessage('solved', ({ source, data }) => console.log(`pupil: ${source} says that`, data));
  await pupil.subscribe('lessons.*');
  return pupil;
}

/** The one who asks, by capability: any agent that can solve will do. */
async function startTeacher(): Promise<AgentHandle> {
  return connectAgent({
    server,
    id: 'teacher',
    spec: { kind: 'teacher' },
    maxInFlight: 4,
    onCall: {
      hint: ({ data }) => (data === 1 ? 'it is the number itself' : `begin with the first of ${data}`),
    },
    signal,
  });
}

async function teach(teacher: AgentHandle): Promise<void> {
  for (let lesson = 0; !signal.aborted; lesson += 1) {
    const numbers = Array.from({ length: lesson % 4 }, (_, at) => lesson + at);
    try {
      const target = { capability: 'solve' };
      const limits = { timeoutMs: 5_000, idempotent: true, signal };
      const answer = await teacher.call(target, { type: 'exercise', data: { numbers } }, limits);
      console.log(`teacher: ${answer.agentId} answers`, answer.data, `in ${Math.round(answer.elapsedMs)} ms`);
      await teacher.publish('lessons.sums', { type: 'solved', data: { lesson, answer: answer.data } });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof CallFailedError)
        console.log(`teacher: ${error.agentId} says "${error.agentError}"`);
      else console.log('teacher:', error instanceof Error ? error.message : error);
    }
    await sleep(1_000, undefined, { signal }).catch(() => {});
  }
}

try {
  const [pupil, teacher] = [await startPupil(), await startTeacher()];
  await teach(teacher);
  await Promise.all([teacher.leave('the lesson is over'), pupil.leave('the lesson is over')]);
} catch (error) {
  if (!signal.aborted) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
