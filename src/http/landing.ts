import { createHash } from 'node:crypto';

const style = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 46rem; margin: 3rem auto; padding: 0 1rem }
  pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: .25rem }
  code, pre { font-family: ui-monospace, monospace; font-size: .875rem }
`;

const styleHash = createHash('sha256').update(style).digest('base64');

/** Nothing but the page's own style: no scripts, no requests to anyone, no framing. */
export const landingPolicy = [
  "default-src 'none'",
  `style-src 'sha256-${styleHash}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** A page for whoever opens the HTTP port in a browser. */
export function landingPage(options: {
  name: string;
  version: string;
  services: readonly string[];
  hasDashboard: boolean;
}): string {
  const name = escaped(options.name);
  const services = options.services
    .map((service) => `<li><code>${escaped(service)}</code></li>`)
    .join('\n    ');
  const dashboard = options.hasDashboard
    ? '<a href="/">/</a>: the dashboard'
    : 'The dashboard is not here: it was not built. <code>npm run build</code> does that';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${name}</title>
<style>${style}</style>
</head>
<body>
<h1>${name}</h1>
<p>The control plane of a fleet of software agents, version ${escaped(options.version)}. This is its HTTP port: it
serves every service below by the Connect and gRPC-Web protocols. Agents attach on the gRPC port.</p>
<ul>
  <li>${dashboard}</li>
  <li><a href="/readyz">/readyz</a>: whether this replica takes calls, and how its parts are</li>
  <li><a href="/status">/status</a>: how the system is, as JSON; <a href="/status.svg">/status.svg</a>: the same as a badge</li>
  <li><a href="/healthz">/healthz</a>: whether the process is up</li>
  <li><a href="/metrics">/metrics</a>: for Prometheus</li>
  <li><code>POST /events</code>: CloudEvents become messages to agents</li>
</ul>
<h2>Call it</h2>
<pre>curl -H 'content-type: application/json' -d '{}' \\
  http://HOST:PORT/mycosoft.orchestrator.monitoring.v1.MonitoringService/GetSystemStatus

curl -H 'content-type: application/json' -d '{"agent_id": "a-1", "spec": {"kind": "demo"}}' \\
  http://HOST:PORT/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent</pre>
<p>Fields are those of the <code>.proto</code> files; misspelt ones are refused, and every error says its reason.
On the gRPC port, <code>grpcurl -plaintext HOST:PORT list</code> shows the same.</p>
<h2>Services</h2>
<ul>
    ${services}
</ul>
</body>
</html>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
