import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import protobuf from 'protobufjs';

/** The parts of opentelemetry-proto (v1) that are looked at; field numbers are those of the published files. */
const PROTO = `
syntax = "proto3";
message AnyValue {
  oneof value {
    string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4;
    ArrayValue array_value = 5; KeyValueList kvlist_value = 6; bytes bytes_value = 7;
  }
}
message ArrayValue { repeated AnyValue values = 1; }
message KeyValueList { repeated KeyValue values = 1; }
message KeyValue { string key = 1; AnyValue value = 2; }
message Resource { repeated KeyValue attributes = 1; }
message Scope { string name = 1; string version = 2; }

message TracesRequest { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message ScopeSpans { Scope scope = 1; repeated Span spans = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; uint32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
  repeated KeyValue attributes = 9; repeated Event events = 11; repeated Link links = 13; Status status = 15;
}
message Link { bytes trace_id = 1; bytes span_id = 2; }
message Event { fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; }
message Status { string message = 2; uint32 code = 3; }

message MetricsRequest { repeated ResourceMetrics resource_metrics = 1; }
message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
message ScopeMetrics { Scope scope = 1; repeated Metric metrics = 2; }
message Metric { string name = 1; string description = 2; string unit = 3; Gauge gauge = 5; Sum sum = 7; Histogram histogram = 9; }
message Gauge { repeated NumberPoint data_points = 1; }
message Sum { repeated NumberPoint data_points = 1; uint32 aggregation_temporality = 2; bool is_monotonic = 3; }
message Histogram { repeated HistogramPoint data_points = 1; uint32 aggregation_temporality = 2; }
message NumberPoint { double as_double = 4; sfixed64 as_int = 6; repeated KeyValue attributes = 7; }
message HistogramPoint {
  fixed64 count = 4; double sum = 5; repeated fixed64 bucket_counts = 6; repeated double explicit_bounds = 7; repeated KeyValue attributes = 9;
}

message LogsRequest { repeated ResourceLogs resource_logs = 1; }
message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; }
message ScopeLogs { Scope scope = 1; repeated LogRecord log_records = 2; }
message LogRecord {
  fixed64 time_unix_nano = 1; uint32 severity_number = 2; string severity_text = 3; AnyValue body = 5;
  repeated KeyValue attributes = 6; bytes trace_id = 9; bytes span_id = 10;
}
`;
const root = protobuf.parse(PROTO).root;

type Attributes = Record<string, unknown>;
export interface ReceivedSpan {
  name: string;
  kind: number;
  traceId: string;
  spanId: string;
  /** Empty: a root. */
  parentSpanId: string;
  attributes: Attributes;
  events: { name: string; attributes: Attributes }[];
  links: { traceId: string; spanId: string }[];
  /** 0 unset, 1 OK, 2 error. */
  status: number;
  resource: Attributes;
}
export interface ReceivedMetric {
  name: string;
  unit: string;
  kind: 'gauge' | 'sum' | 'histogram';
  points: { attributes: Attributes; value: number; count: number }[];
  resource: Attributes;
}
export interface ReceivedLog {
  severity: string;
  body: unknown;
  attributes: Attributes;
  traceId: string;
  spanId: string;
}

type Raw = Record<string, unknown>;
const items = (value: unknown): Raw[] => (Array.isArray(value) ? (value as Raw[]) : []);
const object = (value: unknown): Raw => (typeof value === 'object' && value !== null ? (value as Raw) : {});

/** A collector for tests: decodes OTLP over HTTP, as protobuf or JSON, and remembers what came. */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly metrics: ReceivedMetric[] = [];
  readonly logs: ReceivedLog[] = [];
  /** Headers and path of each request. */
  readonly requests: { path: string; headers: IncomingMessage['headers'] }[] = [];
  /** Everything as it came in, for looking for secrets. */
  raw = '';
  readonly #server: Server;
  /** Answered instead of 200. */
  status = 200;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => {
      this.#receive(request, response).catch((error: unknown) => {
        response.writeHead(400).end(String(error));
      });
    });
  }

  static async start(): Promise<OtlpReceiver> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new OtlpReceiver(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const joined = Buffer.concat(chunks);
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(joined) : joined;
    const path = request.url ?? '';
    this.requests.push({ path, headers: request.headers });
    this.raw += body.toString('latin1');
    const json = request.headers['content-type']?.includes('json') === true;
    const decode = (type: string): Raw => {
      if (json) return JSON.parse(body.toString('utf8')) as Raw;
      const schema = root.lookupType(type);
      return schema.toObject(schema.decode(body), { longs: Number, bytes: Buffer });
    };
    if (this.status === 200) this.#keep(path, decode);
    response.writeHead(this.status, { 'content-type': json ? 'application/json' : 'application/x-protobuf' });
    response.end(json ? '{}' : undefined);
  }

  #keep(path: string, decode: (type: string) => Raw): void {
    if (path === '/v1/traces') {
      for (const group of items(decode('TracesRequest').resourceSpans)) {
        const resource = attributesOf(object(group.resource).attributes);
        for (const span of items(group.scopeSpans).flatMap(({ spans }) => items(spans))) {
          this.spans.push(spanOf(span, resource));
        }
      }
    } else if (path === '/v1/metrics') {
      for (const group of items(decode('MetricsRequest').resourceMetrics)) {
        const resource = attributesOf(object(group.resource).attributes);
        for (const metric of items(group.scopeMetrics).flatMap(({ metrics }) => items(metrics))) {
          this.metrics.push(metricOf(metric, resource));
        }
      }
    } else if (path === '/v1/logs') {
      const groups = items(decode('LogsRequest').resourceLogs).flatMap(({ scopeLogs }) => items(scopeLogs));
      for (const record of groups.flatMap(({ logRecords }) => items(logRecords)))
        this.logs.push(logOf(record));
    } else throw new Error(`no such signal: ${path}`);
  }
}

function spanOf(span: Raw, resource: Attributes): ReceivedSpan {
  return {
    name: String(span.name),
    kind: Number(span.kind),
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    parentSpanId: hex(span.parentSpanId),
    attributes: attributesOf(span.attributes),
    events: items(span.events).map((event) => ({
      name: String(event.name),
      attributes: attributesOf(event.attributes),
    })),
    links: items(span.links).map((link) => ({ traceId: hex(link.traceId), spanId: hex(link.spanId) })),
    status: Number(object(span.status).code ?? 0),
    resource,
  };
}

function metricOf(metric: Raw, resource: Attributes): ReceivedMetric {
  const kind = metric.gauge !== undefined ? 'gauge' : metric.sum !== undefined ? 'sum' : 'histogram';
  const points = items(object(metric[kind]).dataPoints).map((point) => ({
    attributes: attributesOf(point.attributes),
    value: Number(point.asDouble ?? point.asInt ?? point.sum ?? 0),
    count: Number(point.count ?? 0),
  }));
  return { name: String(metric.name), unit: String(metric.unit ?? ''), kind, points, resource };
}

function logOf(record: Raw): ReceivedLog {
  return {
    severity: String(record.severityText),
    body: plainValue(object(record.body)),
    attributes: attributesOf(record.attributes),
    traceId: hex(record.traceId),
    spanId: hex(record.spanId),
  };
}

function attributesOf(pairs: unknown): Attributes {
  return Object.fromEntries(items(pairs).map(({ key, value }) => [String(key), plainValue(object(value))]));
}

function plainValue(value: Raw): unknown {
  if (value.arrayValue !== undefined) return items(object(value.arrayValue).values).map(plainValue);
  if (value.kvlistValue !== undefined) return attributesOf(object(value.kvlistValue).values);
  if (value.intValue !== undefined) return Number(value.intValue);
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue;
}

/** Protobuf has bytes, OTLP's JSON has hex already. */
function hex(value: unknown): string {
  if (typeof value === 'string') return value;
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : '';
}
