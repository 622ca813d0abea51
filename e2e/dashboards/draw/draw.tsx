// Draws a dashboard's JSON with Grafana's own components, from answers of Prometheus that the page holds as `SCENE`.
// Only what our boards use: stat, timeseries, heatmap (Grafana keeps its own apart), table, row, annotations.
import {
  createTheme, DataFrame, dateTime, Field, FieldType, formattedValueToString, getDisplayProcessor, getFieldDisplayName,
  getValueFormat, LinkModel, reduceField, standardTransformers, standardTransformersRegistry, ThemeContext, TimeRange,
  toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, Table, TimeSeries, UPlotConfigBuilder } from '@grafana/ui';
import { useLayoutEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';

type Any = any;
type Event = { color: string; from: number; to: number };
declare const SCENE: { board: Any; from: number; to: number; step: number; answers: Record<string, Any[]>; events: Event[]; variables: [string, string][] };

const CELL = 38, GAP = 8, HEAD = 92;
const theme = createTheme({ colors: { mode: 'dark' } });
const range: TimeRange = { from: dateTime(SCENE.from), to: dateTime(SCENE.to), raw: { from: dateTime(SCENE.from), to: dateTime(SCENE.to) } };
const width = document.documentElement.clientWidth;
const number = (text: string) => (text === '+Inf' ? Infinity : Number(text));
const name = (target: Any, labels: Record<string, string>) => target.legendFormat.replace(/{{\s*(\w+)\s*}}/g, (_: string, key: string) => labels[key] ?? '');

standardTransformersRegistry.setInit(() => [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer]
  .map((one: Any) => ({ id: one.id, name: one.name, transformation: () => Promise.resolve(one) })) as Any);

/** One frame per series on a grid of steps; where there is no sample, null. */
function seriesOf(target: Any, answer: Any): DataFrame[] {
  const times = Array.from({ length: Math.round((SCENE.to - SCENE.from) / SCENE.step) + 1 }, (_, at) => SCENE.from + at * SCENE.step);
  return answer.result.map((series: Any) => {
    const at = new Map(series.values.map(([time, value]: [number, string]) => [Math.round(time * 1000), number(value)]));
    return toDataFrame({ fields: [
      { name: 'Time', type: FieldType.time, values: times },
      { name: 'Value', type: FieldType.number, labels: series.metric, values: times.map((time) => at.get(time) ?? null), config: { displayNameFromDS: name(target, series.metric) } },
    ] });
  });
}

function rowsOf(target: Any, answer: Any): DataFrame {
  const labels = [...new Set<string>(answer.result.flatMap((one: Any) => Object.keys(one.metric)))].sort();
  return toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: FieldType.time, values: answer.result.map(() => SCENE.to) },
    ...labels.map((label) => ({ name: label, type: FieldType.string, values: answer.result.map((one: Any) => one.metric[label] ?? '') })),
    { name: `Value #${target.refId}`, type: FieldType.number, values: answer.result.map((one: Any) => number(one.value[1])) },
  ] });
}

/** Gives each field the panel's configuration: the defaults, then what is overridden by its name. */
function configure(panel: Any, frames: DataFrame[]): DataFrame[] {
  let index = 0;
  for (const frame of frames) for (const field of frame.fields) {
    if (field.type === FieldType.time) { field.display = getDisplayProcessor({ field, theme }); continue; }
    const config: Any = { ...structuredClone(panel.fieldConfig.defaults), displayNameFromDS: field.config.displayNameFromDS };
    const shown = getFieldDisplayName(field, frame, frames);
    for (const override of panel.fieldConfig.overrides.filter((one: Any) => one.matcher.options === shown))
      for (const { id, value } of override.properties)
        id.startsWith('custom.') ? (config.custom = { ...config.custom, [id.slice(7)]: value }) : (config[id] = value);
    field.config = config;
    field.state = { ...field.state, displayName: shown, seriesIndex: index++ };
    field.display = getDisplayProcessor({ field, theme });
    if (config.links) field.getLinks = () => config.links.map((one: Any) => ({ title: one.title, href: '#', target: '_self', origin: field }) as LinkModel<Field>);
  }
  return frames;
}

/** NB: a hook must be there before the plot is made, and the effect of a child comes before its parent's. */
function Events({ builder }: { builder: UPlotConfigBuilder }) {
  useLayoutEffect(() => builder.addHook('draw', (plot) => {
    const { left, top, height } = plot.bbox, context = plot.ctx;
    for (const { color, from, to } of SCENE.events) {
      const [x, end] = [from, to].map((time) => Math.max(left, plot.valToPos(time, 'x', true)));
      context.save();
      context.strokeStyle = context.fillStyle = theme.visualization.getColorByName(color);
      context.globalAlpha = 0.12;
      context.fillRect(x, top, end - x, height);
      context.globalAlpha = 0.9;
      context.setLineDash([4, 3]);
      for (const at of new Set([x, end])) { context.beginPath(); context.moveTo(at, top); context.lineTo(at, top + height); context.stroke(); }
      context.restore();
    }
  }), [builder]);
  return null;
}

function Empty({ panel }: { panel: Any }) {
  return <div style={{ height: '100%', display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue}</div>;
}

function Graph({ panel, frames, w, h }: Any) {
  if (!frames.length) return <Empty panel={panel} />;
  return <TimeSeries frames={frames} width={w} height={h} timeRange={range} timeZone="utc" legend={panel.options.legend} options={panel.options}>
    {(builder: UPlotConfigBuilder) => <Events builder={builder} />}
  </TimeSeries>;
}

function Stat({ panel, frames, w, h }: Any) {
  const [time, field] = frames[0]?.fields ?? [];
  const value = field ? reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull : null;
  const { noValue, thresholds } = panel.fieldConfig.defaults;
  const shown = value == null ? { text: noValue, numeric: NaN, color: theme.visualization.getColorByName(noValue === '0' ? thresholds.steps[0].color : 'text') } : field.display(value);
  const line = field && field.values.filter((one: Any) => one != null && !Number.isNaN(one)).length > 1;
  shown.title = field && getFieldDisplayName(field, frames[0]);
  return <BigValue width={w} height={h} theme={theme} value={shown} colorMode={panel.options.colorMode} graphMode={panel.options.graphMode}
    justifyMode={panel.options.justifyMode} textMode={panel.options.textMode} sparkline={line ? { y: field, x: time } : undefined} />;
}

/** The buckets of a histogram over time: `le` series made into what each bucket got by itself. */
function Heat({ panel, frames, w, h }: Any) {
  const series = frames.map((frame: DataFrame) => frame.fields[1]).sort((a: Field, b: Field) => number(a.labels!.le) - number(b.labels!.le));
  const own = series.map((field: Field, at: number) => field.values.map((value: number, t: number) => Math.max(0, (value ?? 0) - (at ? series[at - 1].values[t] ?? 0 : 0))));
  const used = own.map((values: number[]) => values.some((value) => value > 1e-9));
  const [first, last] = [used.indexOf(true), used.lastIndexOf(true)];
  if (first < 0) return <Empty panel={panel} />;
  const rows = own.slice(first, last + 1), format = getValueFormat(panel.options.yAxis.unit);
  const left = 64, bottom = 22, top = 10, cellW = (w - left) / rows[0].length, cellH = (h - bottom - top) / rows.length;
  const most = Math.max(...rows.flat());
  const hours = [0.1, 0.35, 0.6, 0.85].map((part) => ({ x: left + part * (w - left), text: new Date(SCENE.from + part * (SCENE.to - SCENE.from)).toISOString().slice(11, 16) }));
  return <svg width={w} height={h} fontSize={12} fill={theme.colors.text.primary}>
    {rows.map((values: number[], r: number) => <g key={r}>
      <text x={left - 6} y={h - bottom - r * cellH - cellH + 4} textAnchor="end">{formattedValueToString(format(number(series[first + r].labels!.le)))}</text>
      {values.map((value, t) => value > 1e-9 && <rect key={t} x={left + t * cellW} y={h - bottom - (r + 1) * cellH + 1} width={Math.max(1, cellW - 0.5)} height={cellH - 1}
        fill={theme.visualization.getColorByName('blue')} fillOpacity={0.12 + 0.88 * Math.sqrt(value / most)} />)}
    </g>)}
    {hours.map(({ x, text }) => <text key={text} x={x} y={h - 4} textAnchor="middle">{text}</text>)}
  </svg>;
}

const VIEWS: Record<string, Any> = { timeseries: Graph, stat: Stat, heatmap: Heat, table: ({ panel, frames, w, h }: Any) =>
  frames[0]?.length ? <Table data={frames[0]} width={w} height={h} initialSortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight} /> : <Empty panel={panel} /> };

function Panel({ panel, frames }: { panel: Any; frames: DataFrame[] }) {
  const column = (width - GAP) / 24, { x, y, w, h } = panel.gridPos, View = VIEWS[panel.type];
  const place: Any = { position: 'absolute', left: GAP + x * column, top: HEAD + y * CELL, width: w * column - GAP, height: h * CELL - GAP };
  if (panel.type === 'row') return <div style={{ ...place, height: CELL - GAP, paddingTop: 6, fontWeight: 500 }}>{panel.collapsed ? '›' : '⌄'}&nbsp; {panel.title}</div>;
  return <div style={place}><PanelChrome title={panel.title} description={panel.description} width={place.width} height={place.height}>
    {(innerW, innerH) => <View panel={panel} frames={frames} w={innerW} h={innerH} />}
  </PanelChrome></div>;
}

async function load(panel: Any): Promise<DataFrame[]> {
  const answers = SCENE.answers[panel.id] ?? [];
  if (panel.type !== 'table') return configure(panel, panel.targets.flatMap((target: Any, at: number) => seriesOf(target, answers[at])));
  const frames = panel.targets.map((target: Any, at: number) => rowsOf(target, answers[at])).filter((frame: DataFrame) => frame.length);
  return configure(panel, await firstValueFrom(transformDataFrame(panel.transformations, frames)));
}

async function main() {
  const panels: Any[] = SCENE.board.panels;
  const loaded = await Promise.all(panels.map(async (panel) => [panel, panel.type === 'row' ? [] : await load(panel)] as const));
  const bottom = HEAD + Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * CELL;
  createRoot(document.getElementById('board')!).render(<ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <div style={{ position: 'relative', height: bottom, background: theme.colors.background.canvas, color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily, fontSize: 14 }}>
      <div style={{ padding: '14px 12px 10px', fontSize: 20 }}>{SCENE.board.title}</div>
      <div style={{ paddingLeft: 12, display: 'flex', gap: 8 }}>{SCENE.variables.map(([label, value]) =>
        <span key={label} style={{ border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '4px 8px' }}>{label}&ensp;<b>{value}</b></span>)}</div>
      {loaded.map(([panel, frames]) => <Panel key={panel.id} panel={panel} frames={frames} />)}
    </div>
  </ThemeContext.Provider>);
}

main().catch((error) => { document.body.textContent = `NOT DRAWN ${error.stack}`; console.error('NOT DRAWN', error); });
