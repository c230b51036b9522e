import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { AlertSchema, SilenceSchema } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { CreateSilenceRequestSchema } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { concerns } from '../../src/domain/monitoring/alerts/silencing.ts';
import { validateRequest } from '../../src/domain/validation/requests.ts';
import { matchersOf } from '../../web/src/pages/alerts/matchers.ts';

const HOSTILE: [string, Record<string, string>, RegExp | undefined][] = [
  ['plain labels', { agent_id: 'web-1', zone: 'eu-1' }, undefined],
  ['no labels', {}, undefined],
  ['characters that nobody sees', { agent_id: 'safe\u202egnp.exe\u200b' }, undefined],
  ['a value that looks like an escape', { agent_id: 'a\\u202e' }, undefined],
  ['an empty value', { tier: '' }, undefined],
  ['a value that ends in *', { tier: 'all*' }, /begins/],
  ['control characters', { note: 'line one\nline two' }, /begins/],
  ['a value of nothing else', { note: '\u001b' }, /cannot be matched/],
  ['a long value', { note: 'x'.repeat(2_000) }, /begins/],
  ['a long value of pairs', { note: '👩'.repeat(1_000) }, /begins/],
  ['a name that no matcher may have', { 'a b\u202e': 'x' }, /cannot be matched/],
  ['labels that hide behind those of every alert', { severity: 'none', namespace: 'else' }, undefined],
];

describe('matchers made of an alert', () => {
  test.each(HOSTILE)('match it: %s', (_name, labels, note) => {
    const alert = create(AlertSchema, { rule: 'agent_lost', namespace: 'default', severity: 3, labels });
    const { matchers, notes } = matchersOf(alert.rule, labels);
    const sent = matchers.map(({ name, value }) => ({ name, value }));
    expect(concerns(create(SilenceSchema, { namespace: 'default', matchers: sent }), alert)).toBe(true);
    const request = create(CreateSilenceRequestSchema, {
      namespace: 'default',
      matchers: sent,
      endTime: { seconds: 2_000_000_000n },
      comment: 'test',
    });
    expect(validateRequest(request)).toEqual([]);
    if (note === undefined) expect(notes).toEqual([]);
    else expect(notes.join()).toMatch(note);
    for (const { value, shown = value } of matchers) expect(shown).not.toMatch(/[\u200b\u202e]/);
  });
});
