import { useState } from 'preact/hooks';
import type {
  Silence,
  SilenceMatcher,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Until } from '../../components/age.tsx';
import { Chip } from '../../components/badge.tsx';
import { Card, Empty } from '../../components/card.tsx';
import { FormDialog } from '../../components/form.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { count } from '../../lib/format.ts';
import { timeMs } from '../../lib/time.ts';
import { call, requestId } from '../../live/client.ts';
import { namespace } from '../../router.ts';
import { silences } from '../../store/live.ts';
import { SilenceDialog } from './silence-dialog.tsx';

export function SilenceTable() {
  const [adding, setAdding] = useState(false);
  const [ending, setEnding] = useState<Silence | undefined>(undefined);
  const shown = silences.list().sort((a, b) => (timeMs(a.endTime) ?? 0) - (timeMs(b.endTime) ?? 0));
  return (
    <Card
      title="Silences"
      flush
      aside={
        <button type="button" onClick={() => setAdding(true)}>
          New silence…
        </button>
      }
    >
      {shown.length === 0 ? (
        <Empty title="Nothing is silenced">
          Matching alerts are judged and shown all the same; only sinks do not hear of them.
        </Empty>
      ) : (
        <ScrollX label="Silences">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Alerts with</th>
                <th scope="col">Why</th>
                <th scope="col">By</th>
                <th scope="col">Ends</th>
                <th scope="col" class="number">
                  Silences now
                </th>
                <th scope="col">
                  <span class="unseen">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((silence) => (
                <tr key={silence.id}>
                  <th scope="row">
                    <span class="chips">
                      {silence.matchers.map((matcher) => (
                        <Chip key={matcherText(matcher)}>{matcherText(matcher)}</Chip>
                      ))}
                    </span>
                  </th>
                  <td>{silence.comment}</td>
                  <td>
                    {silence.actor}
                    {silence.namespace === '' && <div class="cell-note">in every namespace</div>}
                  </td>
                  <td>
                    <Until ms={timeMs(silence.endTime)} />
                  </td>
                  <td class="number">{count(silence.alerts)}</td>
                  <td class="number">
                    <button type="button" onClick={() => setEnding(silence)}>
                      End…
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
      {adding && (
        <SilenceDialog
          namespace={namespace.value}
          matchers={[{ name: 'alertname', value: '' }]}
          onClose={() => setAdding(false)}
        />
      )}
      {ending !== undefined && (
        <FormDialog
          title="End the silence"
          button="End it"
          onClose={() => setEnding(undefined)}
          submit={async () => {
            await call('AlertService', 'deleteSilence', { silenceId: ending.id, requestId: requestId() });
            return 'The silence is over: alerts that still fire are sent.';
          }}
        >
          <p>{ending.matchers.map(matcherText).join(', ')}</p>
          <p class="muted">{ending.comment}</p>
        </FormDialog>
      )}
    </Card>
  );
}

const matcherText = ({ name, value, negate }: SilenceMatcher): string =>
  `${name}${negate ? '≠' : '='}${value}`;
