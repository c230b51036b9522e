import { expect, test } from 'vitest';
import { anonymous, principalOf } from '../../src/rpc/interceptors/identity.ts';

const token = (name: string, secret = 'c2VjcmV0') =>
  `orch1.${Buffer.from(name).toString('base64url')}.${secret}`;

test.each([
  [`Bearer ${token('default/a-1')}`, 'agent:default/a-1'],
  [`bearer  ${token('ns-1/A.b_C-9')} `, 'agent:ns-1/A.b_C-9'],
  [`Bearer ${token('default')}`, 'anonymous'],
  [`Bearer ${token('default/a/b')}`, 'anonymous'],
  [`Bearer ${token('DEFAULT/a')}`, 'anonymous'],
  [`Bearer ${token('default/a\nb')}`, 'anonymous'],
  [`Bearer ${token(`default/${'x'.repeat(129)}`)}`, 'anonymous'],
  [`Bearer ${token('default/a', 'sec ret')}`, 'anonymous'],
  ['Bearer something-else', 'anonymous'],
])('%j claims to be %s, and keeps the token for services to check', (authorization, name) => {
  const principal = principalOf(authorization);
  expect(principal.name).toBe(name);
  expect(principal.token).toBe(authorization.slice(7).trim());
});

test.each([undefined, '', 'Bearer', 'Bearer   ', 'Basic dXNlcjpwYXNz', 'Bearerx'])(
  '%j is anonymous',
  (authorization) => {
    expect(principalOf(authorization)).toEqual(anonymous);
  },
);

test('what is too long is refused unread', () => {
  expect(() => principalOf(`Bearer ${'x'.repeat(1_024)}`)).toThrow(/longer than 1024/);
});
