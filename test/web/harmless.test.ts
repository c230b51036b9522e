import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { AgentSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { harmless, harmlessText } from '../../web/src/lib/harmless.ts';

test.each([
  ['plain text stays', 'plain, Grüße, 漢字, 👩‍💻', 'plain, Grüße, 漢字, 👩‍💻'],
  ['tabs and line breaks stay', 'a\tb\nc', 'a\tb\nc'],
  ['control characters are shown', 'a\u0000\u001b[31m\u0085', 'a\\u0000\\u001b[31m\\u0085'],
  ['what turns the direction is shown', 'safe\u202egnp.exe\u2066', 'safe\\u202egnp.exe\\u2066'],
  ['what nobody sees is shown', 'a\u200bb\ufeff', 'a\\u200bb\\ufeff'],
])('%s', (_name, text, shown) => {
  expect(harmlessText(text)).toBe(shown);
});

test('every string of a message is made harmless, names of labels too, and numbers and bytes are left', () => {
  const agent = create(AgentSchema, {
    id: 'a\u202e',
    revision: 7n,
    spec: {
      labels: { 'k\u0007': 'v\u200b', __proto__x: 'y' },
      capabilities: [{ name: 'c\u0001', tags: ['t\u0002'] }],
    },
  });
  harmless(agent);
  expect(agent.id).toBe('a\\u202e');
  expect(agent.revision).toBe(7n);
  expect(agent.spec?.labels).toEqual({ 'k\\u0007': 'v\\u200b', __proto__x: 'y' });
  expect(agent.spec?.capabilities[0]).toMatchObject({ name: 'c\\u0001', tags: ['t\\u0002'] });
  const bytes = { data: new Uint8Array([0, 1, 2]) };
  expect(harmless(bytes).data).toEqual(new Uint8Array([0, 1, 2]));
});
