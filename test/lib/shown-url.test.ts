import { expect, it } from 'vitest';
import { shownUrl } from '../../src/lib/shown-url.ts';

it.each([
  ['https://user:hunter2@h:1/a/b?token=x', true, 'https://user:***@h:1/a/b?***'],
  ['https://hunter2@h/a', true, 'https://***@h/a'],
  ['https://user:hun/ter2@h/a', true, 'https://user:***@h/a'],
  ['https://hooks.example/T0/B0/secret', false, 'https://hooks.example/***'],
  ['https://hooks.example/', false, 'https://hooks.example/'],
  ['https://hooks.example?secret', false, 'https://hooks.example?***'],
  ['db:5432', true, 'db:5432'],
  ['[::1]:5432', true, '[::1]:5432'],
  ['redis://:hunter2@h:6379', true, 'redis://:***@h:6379'],
])('%s is shown without what may be secret', (url, path, expected) => {
  expect(shownUrl(url, { path })).toBe(expected);
});
