import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';

export type Look = 'light' | 'dark';
export type Size = 'desktop' | 'phone';

const SIZES = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } } as const;

export async function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM;
  if (executablePath === undefined) throw new Error('no Chromium: run npm run test:browser');
  // Its sandbox needs rights that containers do not give.
  return await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** A page, and all that went wrong in it: errors, refusals of the content policy, requests to anybody else. */
export interface Tab {
  page: Page;
  complaints: string[];
  /** Bodies that came, by address: bytes on the wire. */
  loaded: Map<string, number>;
}

export async function openTab(
  browser: Browser,
  http: string,
  options: { look?: Look; size?: Size } = {},
): Promise<Tab> {
  const { look = 'light', size = 'desktop' } = options;
  const context = await browser.newContext({
    viewport: SIZES[size],
    colorScheme: look,
    reducedMotion: 'reduce',
    locale: 'en-GB',
    timezoneId: 'UTC',
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  const loaded = new Map<string, number>();
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // A connection that breaks is told by the browser itself; the page has a banner for it.
    if (message.type() === 'error' && !/net::ERR_|Failed to load resource/.test(message.text()))
      complaints.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== 'data:' && host !== http) complaints.push(`request to ${request.url()}`);
  });
  page.on('requestfinished', async (request) => {
    const sizes = await request.sizes().catch(() => undefined);
    if (sizes !== undefined) loaded.set(new URL(request.url()).pathname, sizes.responseBodySize);
  });
  return { page, complaints, loaded };
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const MOST = 12;

/** What axe finds wrong, a line each, the first of them; empty: nothing. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  const results = await page.evaluate(() =>
    (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  );
  const found = results.violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${help}: ${html.slice(0, 200)} (${failureSummary})`),
  );
  return found.slice(0, MOST);
}
