import { describe, expect, it } from 'vitest';
import { Keys } from '../../../src/state/redis/keys.ts';
import { SeenSet } from '../../../src/state/redis/seen-set.ts';

describe('a seen set', () => {
  it('knows each text once it was shown it, also after it has grown', () => {
    const seen = new SeenSet();
    const texts = Array.from({ length: 20_000 }, (_, at) => `request ${at}`);
    expect(texts.filter((text) => seen.add(text))).toHaveLength(20_000);
    expect(texts.filter((text) => seen.add(text))).toEqual([]);
    expect(seen.add('another')).toBe(true);
  });
});

describe('keys of Redis', () => {
  const keys = new Keys({ prefix: 'orchestrator', database: 'agents_db' });
  const namespaces = ['default', 'a{b}*%', '}:x', '{*}', 'größe:7', '%7b'];

  it.each(namespaces)('say which namespace they are of: %s', (namespace) => {
    expect(keys.parse(keys.of(namespace).meta)).toEqual({ namespace, kind: 'meta', name: '' });
    expect(keys.parse(keys.series(namespace, 'a:b}:c'))).toEqual({
      namespace,
      kind: 'series',
      name: 'a:b}:c',
    });
    expect(keys.parse(keys.request(namespace, 'r:1:'))).toEqual({ namespace, kind: 'request', name: 'r:1:' });
  });

  it('that belong to no namespace, or to another database, are of none', () => {
    const other = new Keys({ prefix: 'orchestrator', database: 'agents_db_2' });
    for (const key of [keys.store, keys.namespaces, other.of('n').meta, 'orchestrator', '']) {
      expect(keys.parse(key)).toBeUndefined();
    }
  });
});
