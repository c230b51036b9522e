import { expect, it } from 'vitest';
import { InTurns } from '../../src/lib/in-turns.ts';

it('starts in order, and what came meanwhile together', async () => {
  const turns = new InTurns<string>();
  const story: string[] = [];
  const ends: (() => void)[] = [];
  const work = (name: string) => async (): Promise<string> => {
    story.push(name);
    await new Promise<void>((resolve) => ends.push(resolve));
    return name;
  };
  const all = ['a', 'b', 'c'].map((name) => turns.run(work(name)));
  expect(story).toEqual(['a']);
  ends.shift()?.();
  await all[0];
  await new Promise((resolve) => setImmediate(resolve));
  expect(story).toEqual(['a', 'b', 'c']);
  for (const end of ends.splice(0)) end();
  expect(await Promise.all(all)).toEqual(['a', 'b', 'c']);
});

it('goes on after a failure', async () => {
  const turns = new InTurns<string>();
  const failed = turns.run(() => Promise.reject(new Error('no')));
  const done = turns.run(async () => 'yes');
  await expect(failed).rejects.toThrow('no');
  expect(await done).toBe('yes');
});
