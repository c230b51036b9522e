import {
  type DiagnoseResponse,
  type Finding,
  Finding_Severity,
  Finding_SeveritySchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { enumName } from './names.ts';
import { dim, pad, plain, renderLine, type Span, type Style, strong, type Tone } from './text.ts';
import { formatDuration } from './time.ts';
import { wrapped } from './wrap.ts';

const STEPS = [
  'Check system coordination',
  'Verify agent management',
  'Monitor system health',
  'Review resource allocation',
  'Check integration points',
];

const tones: Partial<Record<Finding_Severity, Tone>> = {
  [Finding_Severity.OK]: 'good',
  [Finding_Severity.INFO]: 'dim',
  [Finding_Severity.WARNING]: 'warn',
  [Finding_Severity.CRITICAL]: 'bad',
  [Finding_Severity.UNKNOWN]: 'warn',
};

const WIDTH = 9;

function severitySpan(severity: Finding_Severity): Span {
  const text = enumName(Finding_SeveritySchema, severity);
  return { text: pad(text, WIDTH, 'left'), tone: tones[severity] ?? 'warn' };
}

/** What a diagnosis found, step by step. `quiet`: only what is not well. */
export function renderDiagnosis(response: DiagnoseResponse, style: Style, quiet: boolean): string[] {
  const lines: string[] = [];
  for (const [at, title] of STEPS.entries()) {
    const findings = response.findings.filter(({ step }) => step === at + 1);
    const shown = findings.filter(({ severity }) => !quiet || severity !== Finding_Severity.OK);
    if (shown.length === 0) continue;
    if (lines.length > 0) lines.push('');
    lines.push(renderLine([strong(`${at + 1}. ${title}`)], style));
    for (const finding of shown) lines.push(...findingLines(finding, style));
  }
  if (lines.length > 0) lines.push('');
  lines.push(renderLine(summary(response), style));
  return lines;
}

function findingLines(finding: Finding, style: Style): string[] {
  const { severity, check, summary: what, evidence, advice, namespace, code } = finding;
  const issue = check.slice(check.indexOf('.') + 1).replaceAll('_', ' ');
  const lead = [plain('  '), severitySpan(severity)];
  if (severity === Finding_Severity.OK) return wrapped(`${issue}: ${what}`, style, lead);
  const lines = wrapped(what, style, lead);
  const where = [check, code, ...(namespace === '' ? [] : [`namespace ${namespace}`])].join(' · ');
  const inset = ' '.repeat(WIDTH + 2);
  return [
    ...lines,
    renderLine([plain(inset), dim(where)], style),
    ...evidence.flatMap((each) => wrapped(each, style, [plain(inset), dim('- ')])),
    ...(advice === '' ? [] : wrapped(advice, style, [plain(inset), strong('→ ')])),
  ];
}

function summary({ findings, replicaId, elapsed }: DiagnoseResponse): Span[] {
  const count = (severity: Finding_Severity): number =>
    findings.filter((finding) => finding.severity === severity).length;
  const parts: Span[] = [];
  for (const severity of [Finding_Severity.CRITICAL, Finding_Severity.UNKNOWN, Finding_Severity.WARNING]) {
    const many = count(severity);
    if (many === 0) continue;
    const text = `${many} ${enumName(Finding_SeveritySchema, severity).toLowerCase()}`;
    parts.push(...(parts.length > 0 ? [plain(', ')] : []), { text, tone: tones[severity] ?? 'warn' });
  }
  const checks = new Set(findings.map(({ check }) => check)).size;
  const by = dim(`  ${checks} checks by ${replicaId} in ${formatDuration(elapsed)}`);
  if (parts.length === 0) return [{ text: 'all well', tone: 'good' }, by];
  return [...parts, by];
}

/** Whether somebody has to look. */
export const isTrouble = (severity: Finding_Severity): boolean => severity > Finding_Severity.INFO;
