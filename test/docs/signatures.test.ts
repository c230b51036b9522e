import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { signatureOf } from '../../src/integrations/webhook.ts';

const page = readFileSync('docs/integrations.md', 'utf8');

type Verify = (secret: string, header: string, body: Buffer, toleranceSeconds?: number) => boolean;

describe("the page's verification of signatures", () => {
  it('takes what was signed with its key and just now, and nothing else', async () => {
    const code = /```js\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    const { verify } = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
      verify: Verify;
    };
    const body = '{"summary":"grün"}';
    const now = Math.floor(Date.now() / 1000);
    const header = signatureOf('the key', now, body);
    expect(verify('the key', header, Buffer.from(body))).toBe(true);
    expect(verify('another', header, Buffer.from(body))).toBe(false);
    expect(verify('the key', header, Buffer.from(`${body} `))).toBe(false);
    expect(verify('the key', header.replace(`t=${now}`, `t=${now - 1}`), Buffer.from(body))).toBe(false);
    expect(verify('the key', signatureOf('the key', now - 301, body), Buffer.from(body))).toBe(false);
    expect(verify('the key', 'nonsense', Buffer.from(body))).toBe(false);
  });
});
