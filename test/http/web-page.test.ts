import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { loadWebAssets } from '../../src/http/web-assets.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { startHttp } from './http-support.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const html = '<!doctype html><title>x</title><script type="module" src="/assets/index-1a2b.js"></script>';
const script = `console.log(${JSON.stringify('x'.repeat(2000))});\n`;

function build(): string {
  const root = mkdtempSync(join(tmpdir(), 'orchestrator-web-'));
  cleanups.push(() => rmSync(root, { recursive: true }));
  const web = join(root, 'web');
  mkdirSync(join(web, 'assets'), { recursive: true });
  writeFileSync(join(root, 'secret.txt'), 'secret');
  writeFileSync(join(web, 'index.html'), html);
  // Larger than what it stands for: of no use.
  writeFileSync(join(web, 'index.html.br'), 'x'.repeat(html.length));
  writeFileSync(join(web, 'assets', 'index-1a2b.js'), script);
  writeFileSync(join(web, 'assets', 'index-1a2b.js.br'), brotliCompressSync(script));
  writeFileSync(join(web, 'assets', 'index-1a2b.js.gz'), gzipSync(script));
  writeFileSync(join(web, 'assets', 'index-1a2b.js.map'), '{}');
  writeFileSync(join(web, 'healthz.txt'), 'not this');
  symlinkSync(join(root, 'secret.txt'), join(web, 'link.txt'));
  return web;
}

async function serve(directory: string) {
  const started = await startHttp([], {
    pages: {
      name: 'Test',
      version: '1.2.3',
      metrics: async () => ({ contentType: 'text/plain', body: '' }),
      readiness: () => ({ ready: true, parts: {} }),
      web: loadWebAssets(directory),
    },
    log: silentLogger,
  });
  cleanups.push(() => started.listener.close({ graceMs: 0 }));
  return started;
}

/** As it comes: fetch would decode the body and resolve the path. */
function get(port: number, path: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: Buffer }>(
    (resolve, reject) => {
      const call = request({ port, host: '127.0.0.1', path, headers, method }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks),
          }),
        );
      });
      call.on('error', reject);
      call.end();
    },
  );
}

test('the page comes with a policy that lets it talk to its own server and run its own scripts alone', async () => {
  const { port } = await serve(build());
  const page = await get(port, '/', { 'accept-encoding': 'br' });
  expect([page.status, page.body.toString()]).toEqual([200, html]);
  expect(page.headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-cache',
    'content-length': `${html.length}`,
  });
  expect(page.headers['content-encoding']).toBeUndefined();
  const policy = `${page.headers['content-security-policy']}`.split('; ');
  expect(policy).toEqual(
    expect.arrayContaining([
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]),
  );
  expect(policy.join()).not.toMatch(/unsafe|\*|http/);
});

test('the best form that the client takes is sent, and kept for ever where its name tells its content', async () => {
  const { port } = await serve(build());
  const path = '/assets/index-1a2b.js';
  const br = await get(port, path, { 'accept-encoding': 'gzip, deflate, br' });
  expect(br.headers).toMatchObject({ 'content-encoding': 'br', vary: 'accept-encoding' });
  expect(brotliDecompressSync(br.body).toString()).toBe(script);
  expect(br.headers['cache-control']).toBe('public, max-age=31536000, immutable');
  const gzip = await get(port, path, { 'accept-encoding': 'br;q=0, gzip;q=0.5' });
  expect(gzip.headers['content-encoding']).toBe('gzip');
  expect(gunzipSync(gzip.body).toString()).toBe(script);
  const plain = await get(port, path);
  expect([plain.headers['content-encoding'], plain.body.toString()]).toEqual([undefined, script]);
  const head = await get(port, path, {}, 'HEAD');
  expect([head.status, head.headers['content-length'], head.body.length]).toEqual([
    200,
    `${script.length}`,
    0,
  ]);
});

test('who has it already is told so', async () => {
  const { port } = await serve(build());
  const { headers } = await get(port, '/');
  const again = await get(port, '/', { 'if-none-match': `"other", W/${headers.etag}` });
  expect([again.status, again.body.length, again.headers['content-length']]).toEqual([304, 0, undefined]);
  expect(again.headers['content-security-policy']).toBe(headers['content-security-policy']);
  expect((await get(port, '/', { 'if-none-match': '"other"' })).status).toBe(200);
});

test('nothing outside of the page is served, however it is asked for', async () => {
  const { port } = await serve(build());
  for (const path of [
    '/../secret.txt',
    '/assets/../../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/assets/..%5c..%5csecret.txt',
    '//secret.txt',
    '/link.txt',
    '/assets/index-1a2b.js.map',
    '/assets/index-1a2b.js.br',
    '/assets/',
    '/index.html%00.js',
    '/constructor',
  ]) {
    expect([path, (await get(port, path)).status]).toEqual([path, 404]);
  }
  expect((await get(port, '/', {}, 'POST')).status).toBe(405);
  expect((await get(port, '/healthz')).body.toString()).toBe('ok\n');
  const api = await get(port, '/api');
  expect([api.status, api.body.toString()]).toEqual([200, expect.stringContaining('<a href="/">')]);
});

test('without a built page the start says so, and shows how the service is called', async () => {
  expect(loadWebAssets(join(tmpdir(), 'orchestrator-web-nowhere'))).toBeUndefined();
  const { port } = await serve(join(tmpdir(), 'orchestrator-web-nowhere'));
  const page = await get(port, '/');
  expect([page.status, page.body.toString()]).toEqual([200, expect.stringContaining('was not built')]);
});
