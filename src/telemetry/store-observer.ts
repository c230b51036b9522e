import type { Store } from '../state/store.ts';
import type { Tracing } from './tracing.ts';

/** The same store, whose commits are child spans of the call that makes them. */
export function traceStore(store: Store, tracer: Tracing): Store {
  const system = store.status().kind;
  return {
    commit: (commit) =>
      tracer.withStoreSpan(
        { system, namespace: commit.namespace },
        () => store.commit(commit),
        ({ kind }) => kind,
      ),
    get: (namespace, key) => store.get(namespace, key),
    getRequest: (namespace, id) => store.getRequest(namespace, id),
    scan: (namespace, options) => store.scan(namespace, options),
    namespaces: () => store.namespaces(),
    position: (namespace) => store.position(namespace),
    changes: (namespace, after, limit) => store.changes(namespace, after, limit),
    readSeries: (namespace, series, range) => store.readSeries(namespace, series, range),
    trimSeries: (namespace, series, beforeMs, limit) => store.trimSeries(namespace, series, beforeMs, limit),
    follow: (follower) => store.follow(follower),
    putLive: (records) => store.putLive(records),
    scanLive: (namespace) => store.scanLive(namespace),
    now: () => store.now(),
    status: () => store.status(),
    close: () => store.close(),
  };
}
