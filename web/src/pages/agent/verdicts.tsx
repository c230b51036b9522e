import type { Verdict } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { ExplainAgentResponse } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Moment } from '../../components/age.tsx';
import { Card, Empty, Fact, Facts } from '../../components/card.tsx';
import { Sparkline } from '../../components/sparkline.tsx';
import { millis, percent } from '../../lib/format.ts';
import { durationMs, timeMs } from '../../lib/time.ts';

/** Its last verdicts, each with what the rule saw and how the observer itself was. */
export function VerdictsCard({ explanation }: { explanation: ExplainAgentResponse }) {
  const { verdicts } = explanation;
  return (
    <Card title="Verdicts" flush>
      {verdicts.length === 0 ? (
        <Empty title="Nothing has been judged yet" />
      ) : (
        <ul class="lines">
          {verdicts.map((verdict, index) => (
            <li key={`${verdict.epoch}-${timeMs(verdict.time)}-${verdict.rule}`}>
              <details class="verdict-line" open={index === 0}>
                <summary>
                  <Moment ms={timeMs(verdict.time)} /> <strong>{verdict.rule}</strong>{' '}
                  <span>{verdict.detail}</span>
                </summary>
                <Evidence verdict={verdict} />
              </details>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Evidence({ verdict }: { verdict: Verdict }) {
  const { observer, sampleMs } = verdict;
  return (
    <div class="evidence">
      <Facts>
        <Fact name="Judged by">{verdict.replicaId || '–'}</Fact>
        {verdict.silence !== undefined && <Fact name="Silence">{millis(durationMs(verdict.silence))}</Fact>}
        {verdict.phi > 0 && <Fact name="Suspicion φ">{verdict.phi.toFixed(1)}</Fact>}
        {verdict.unansweredProbes > 0 && <Fact name="Unanswered probes">{verdict.unansweredProbes}</Fact>}
        {observer !== undefined && (
          <>
            <Fact name="Observer's longest delay">{millis(durationMs(observer.eventLoopDelay))}</Fact>
            {(durationMs(observer.ownStall) ?? 0) > 0 && (
              <Fact name="Its own stall, not counted">{millis(durationMs(observer.ownStall))}</Fact>
            )}
            <Fact name="Store">{observer.storeAvailable ? 'available' : 'away'}</Fact>
            <Fact name="Fleet in trouble then">
              {percent(observer.shareInTrouble)} of {observer.agents}
            </Fact>
          </>
        )}
      </Facts>
      {sampleMs.length > 1 && (
        <div class="evidence-samples">
          <Sparkline values={sampleMs} label="The answer delays that were looked at" />
          <p class="cell-note">
            the last {sampleMs.length} answer delays, {millis(Math.min(...sampleMs))} to{' '}
            {millis(Math.max(...sampleMs))}
          </p>
        </div>
      )}
    </div>
  );
}
