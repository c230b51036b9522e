// The pair examples' counterpart on the TypeScript SDK, from the build: node typescript-pair.mjs SERVER ID [PEER]
import { AsyncLocalStorage } from 'node:async_hooks';
import { context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { connectAgent } from '../../dist/src/client/index.js';

const [server, id, peer] = process.argv.slice(2);

/** Keeps the active span over awaits, as @opentelemetry/context-async-hooks does. */
class AsyncContext {
  #storage = new AsyncLocalStorage();
  active = () => this.#storage.getStore() ?? ROOT_CONTEXT;
  with = (active, work, self, ...args) => this.#storage.run(active, () => work.apply(self, args));
  bind = (_, target) => target;
  enable = () => this;
  disable = () => this;
}

if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined) {
  context.setGlobalContextManager(new AsyncContext());
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': id }),
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
    }),
  );
}

const agent = await connectAgent({
  server,
  id,
  spec: { kind: 'pair', labels: { lang: 'typescript' }, capabilities: [{ name: 'ask' }] },
  maxInFlight: 8,
  onCall: { ask: ({ data }) => answer(data.hops) },
  onMessage: { greeting: ({ source, data }) => console.log(`${source} says ${data}`) },
  onState: ({ state, epoch }) => state === 'connected' && console.log(`connected epoch=${epoch}`),
});

async function answer(hops) {
  if (hops <= 0 || peer === undefined) return { way: [id] };
  const { data } = await agent.call({ agentId: peer }, { type: 'ask', data: { hops: hops - 1 } });
  return { way: [id, ...data.way] };
}
