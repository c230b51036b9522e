import { useLayoutEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { colours, resolved } from '../theme.ts';

export interface ChartSeries {
  label: string;
  /** Custom property of its colour. */
  colour: string;
  dash?: number[];
  values: (number | null)[];
}

export interface ChartProps {
  /** What it shows, for those who hear it. */
  label: string;
  /** Seconds since the Unix epoch, rising. */
  times: number[];
  series: readonly ChartSeries[];
  format(value: number): string;
  /** From and to, in seconds. */
  range: readonly [number, number];
  /** The scale goes at least to this; and no further, if `fixed`. */
  top?: number;
  fixed?: boolean;
  height?: number;
}

/** The course of values over time. */
export function Chart(props: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const latest = useRef(props);
  latest.current = props;
  const look = colours.value;
  const shape = props.series.map(({ label }) => label).join();
  const data: uPlot.AlignedData = [props.times, ...props.series.map(({ values }) => values)];

  useLayoutEffect(() => {
    const element = place.current;
    if (element === null) return;
    const made = new uPlot(optionsOf(latest, element.clientWidth || 600), data, element);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0)
        made.setSize({ width: element.clientWidth, height: latest.current.height ?? 190 });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [look, shape]);

  useLayoutEffect(() => {
    plot.current?.setData(data);
  }, [props.times, props.series, props.range[0], props.range[1]]);

  return (
    <figure class="chart">
      <div ref={place} role="img" aria-label={`${props.label}. ${spoken(props)}`} />
    </figure>
  );
}

function spoken({ series, format }: ChartProps): string {
  const parts = series.map(({ label, values }) => {
    const known = values.filter((value): value is number => value !== null);
    const last = known.at(-1);
    if (last === undefined) return `${label}: nothing measured`;
    return `${label}: now ${format(last)}, between ${format(Math.min(...known))} and ${format(Math.max(...known))}`;
  });
  return parts.join('; ');
}

const dayMark = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const timeMark = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const wholeMark = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

/** The day where days are shown, else the time of day. */
function clockMark(seconds: number, [from, to]: readonly [number, number]): string {
  return (to - from > 2 * 86_400 ? dayMark : timeMark).format(seconds * 1_000);
}

function optionsOf(latest: { current: ChartProps }, width: number): uPlot.Options {
  const { series, format, height = 190, top, fixed = false } = latest.current;
  const muted = resolved('--muted');
  const grid = { stroke: resolved('--line'), width: 1 };
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return {
    width,
    height,
    padding: [8, 6, 0, 0],
    cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    legend: { live: true },
    scales: {
      x: { time: true, range: () => [...latest.current.range] },
      y: {
        range: (_plot, _least, most) => [0, fixed ? (top ?? 1) : Math.max(top ?? 0, (most ?? 0) * 1.1) || 1],
      },
    },
    axes: [
      {
        stroke: muted,
        grid: { show: false },
        ticks: { ...grid, size: 4 },
        font,
        space: 70,
        size: 28,
        values: (_plot, marks) => marks.map((mark) => clockMark(mark, latest.current.range)),
      },
      {
        stroke: muted,
        grid,
        ticks: { show: false },
        font,
        size: 58,
        values: (_plot, marks) => marks.map((mark) => format(mark)),
      },
    ],
    series: [
      {
        label: 'time',
        value: (_plot: uPlot, at: number | null) => (at === null ? '–' : wholeMark.format(at * 1_000)),
      },
      ...series.map(({ label, colour, dash }) => ({
        label,
        stroke: resolved(colour),
        width: 1.6,
        ...(dash === undefined ? {} : { dash }),
        points: { size: 4 },
        spanGaps: false,
        value: (_plot: uPlot, value: number | null) => (value === null ? '–' : format(value)),
      })),
    ],
  };
}
