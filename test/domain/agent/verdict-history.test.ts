import { create, toBinary } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { VerdictSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { VerdictHistorySchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { fileVerdict, readVerdicts } from '../../../src/domain/agent/verdict-history.ts';

const verdict = (rule: string, detail = '') => create(VerdictSchema, { rule, detail });

it.each([0, 1, 127, 128, 16_383, 16_384])(
  'reads back what it filed, newest first, with details of %s characters',
  (length) => {
    let history: Uint8Array = new Uint8Array();
    const filed = ['a', 'b', 'c'].map((rule) => verdict(rule, 'x'.repeat(length)));
    for (const each of filed) history = fileVerdict(history, each);
    expect(readVerdicts(history)).toEqual(filed.reverse());
  },
);

it('writes what the encoder would write', () => {
  let history: Uint8Array = new Uint8Array();
  for (const rule of ['a', 'b']) history = fileVerdict(history, verdict(rule, 'why'));
  const verdicts = [verdict('b', 'why'), verdict('a', 'why')];
  expect(history).toEqual(toBinary(VerdictHistorySchema, create(VerdictHistorySchema, { verdicts })));
});

it('keeps fifteen', () => {
  let history: Uint8Array = new Uint8Array();
  for (let index = 0; index < 40; index += 1) history = fileVerdict(history, verdict(`r${index}`));
  expect(readVerdicts(history).map(({ rule }) => rule)).toEqual(
    Array.from({ length: 15 }, (_, index) => `r${39 - index}`),
  );
});

it.each([
  ['cut off in a verdict', 5],
  ['cut off in a length', 1],
])('does not run beyond a history that was %s', (_, length) => {
  const history = fileVerdict(new Uint8Array(), verdict('old', 'x'.repeat(200)));
  const filed = fileVerdict(history.subarray(0, length), verdict('new'));
  expect(filed.length).toBeLessThan(40);
});
