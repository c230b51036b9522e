import { describe, expect, it } from 'vitest';
import { parseRedisUrl, showAddress } from '../../src/lib/redis-url.ts';

const nothing = { master: undefined, username: undefined, password: undefined };

describe('a Redis URL', () => {
  it.each([
    ['redis://h', { ...nothing, tls: false, addresses: [{ host: 'h', port: 6379 }] }],
    ['REDIS://h:1/0', { ...nothing, tls: false, addresses: [{ host: 'h', port: 1 }] }],
    ['rediss://[::1]:2/', { ...nothing, tls: true, addresses: [{ host: '::1', port: 2 }] }],
    [
      'redis://me:a%40b%3A@h:3',
      { ...nothing, tls: false, addresses: [{ host: 'h', port: 3 }], username: 'me', password: 'a@b:' },
    ],
    [
      'redis://:a@b:c@h',
      { ...nothing, tls: false, addresses: [{ host: 'h', port: 6379 }], password: 'a@b:c' },
    ],
    [
      'rediss+sentinel://:pw@a,b:5,[fe80::1]:6/my-master.1',
      {
        ...{ tls: true, master: 'my-master.1', username: undefined, password: 'pw' },
        addresses: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 5 },
          { host: 'fe80::1', port: 6 },
        ],
      },
    ],
  ])('%s says where, as whom and how', (text, expected) => {
    expect(parseRedisUrl(text)).toEqual(expected);
  });

  it.each([
    ['redis:h', 'is not a URL'],
    ['http://h', 'is not a URL'],
    ['redis+sentinels://h/m', 'is not a URL'],
    ['redis://', 'must name a host'],
    ['redis://hunter2@', 'must name a host'],
    ['redis://h:0', 'is none'],
    ['redis://h:65536', 'is none'],
    ['redis://[1.2.3.4]', 'is none'],
    ['redis+sentinel://a,,b/m', 'is none'],
    ['redis://a,b', 'several hosts'],
    [`redis+sentinel://${Array.from({ length: 17 }, (_, i) => `h${i}`).join()}/m`, 'more than 16'],
    ['redis+sentinel://a', 'must end in the name'],
    ['redis+sentinel://a/m/0', 'must end in the name'],
    ['redis://h/1', 'database number'],
    ['redis://h/0?hunter2', 'no parameters'],
    ['redis://u:hunter%2@h', 'stray "%"'],
  ])('%s is refused, and never repeated', (text, reason) => {
    const found = parseRedisUrl(text);
    expect('fault' in found && found.fault).toContain(reason);
    expect(JSON.stringify(found)).not.toContain('hunter');
  });

  it('shows an address as one would write it', () => {
    expect(
      [
        { host: '::1', port: 1 },
        { host: 'h', port: 2 },
      ].map(showAddress),
    ).toEqual(['[::1]:1', 'h:2']);
  });
});
