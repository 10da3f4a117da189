// Draws the dashboard as Grafana does: its JSON as it is shipped, Grafana's own components (@grafana/ui, @grafana/data), and
// answers of a real Prometheus. What Grafana itself adds to them is here: the grid, the defaults of its panels, the steps of
// queries, and how an answer becomes a frame.
import {
  applyFieldOverrides, applyNullInsertThreshold, cacheFieldDisplayNames, createDataFrame, createTheme, dateTime, FieldType,
  getFieldDisplayValues, rangeUtil, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry,
  ThemeContext, transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import '@fontsource-variable/inter';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';

import arrowDown from './node_modules/@grafana/ui/dist/public/img/icons/unicons/arrow-down.svg';
import arrowUp from './node_modules/@grafana/ui/dist/public/img/icons/unicons/arrow-up.svg';
import filter from './node_modules/@grafana/ui/dist/public/img/icons/unicons/filter.svg';
import info from './node_modules/@grafana/ui/dist/public/img/icons/unicons/info-circle.svg';

// Components ask for their icons by name; here no server has them.
const icons = { 'arrow-down': arrowDown, 'arrow-up': arrowUp, filter, 'info-circle': info };
const fetchAll = window.fetch.bind(window);
window.fetch = (url, ...more) => {
  const name = /icons\/.*?([\w-]+)\.svg$/.exec(url)?.[1];
  return fetchAll(icons[name] ?? url, ...more);
};

// Given by the page: the dashboard, where Prometheus is, the end of the day (seconds), how often was scraped (seconds).
const { dashboard, prometheus, end, scrape } = window.PICTURE;
const WIDTH = 1600;
const [PADDING, GAP, CELL] = [16, 8, 30];
const theme = createTheme({ colors: { mode: 'light' }, typography: { fontFamily: '"Inter Variable", sans-serif' } });
const range = { from: dateTime((end - 86400) * 1000), to: dateTime(end * 1000) };
const timeRange = { ...range, raw: range };

const STANDARD = ['unit', 'decimals', 'min', 'max', 'displayName', 'color', 'thresholds', 'mappings', 'noValue'];
const CUSTOM = [
  'axisBorderShow', 'axisCenteredZero', 'axisColorMode', 'axisLabel', 'axisPlacement', 'axisSoftMax', 'axisSoftMin',
  'drawStyle', 'fillOpacity', 'gradientMode', 'hideFrom', 'lineInterpolation', 'lineStyle', 'lineWidth', 'pointSize',
  'scaleDistribution', 'showPoints', 'spanNulls', 'stacking', 'thresholdsStyle', 'barAlignment', 'barWidthFactor',
  'align', 'cellOptions', 'filterable', 'inspect', 'minWidth', 'width',
];
const property = (id, path, isCustom) => ({
  id, path, isCustom, name: id, settings: {}, process: (value) => value, shouldApply: () => true,
});
standardFieldConfigEditorRegistry.setInit(() => [
  ...STANDARD.map((id) => property(id, id, false)), ...CUSTOM.map((id) => property(`custom.${id}`, id, true)),
]);
const { mergeTransformer, organizeFieldsTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() => [mergeTransformer, organizeFieldsTransformer].map((it) => ({
  id: it.id, name: it.name, transformation: () => Promise.resolve(it),
})));

// The defaults of the panels, which are theirs and not of the components.
const DEFAULTS = {
  stat: { color: { mode: 'thresholds' } },
  table: { color: { mode: 'thresholds' }, custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false } },
  timeseries: {
    color: { mode: 'palette-classic' },
    custom: {
      drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', pointSize: 5,
      showPoints: 'auto', spanNulls: false, axisPlacement: 'auto', axisColorMode: 'text', axisBorderShow: false,
      scaleDistribution: { type: 'linear' }, stacking: { mode: 'none', group: 'A' }, thresholdsStyle: { mode: 'off' },
      hideFrom: { legend: false, tooltip: false, viz: false }, barAlignment: 0, barWidthFactor: 0.6,
    },
  },
};

const column = (WIDTH - 2 * PADDING + GAP) / 24;
const size = ({ gridPos: { w, h } }) => ({ width: w * column - GAP, height: h * (CELL + GAP) - GAP });

/** Asks Prometheus as Grafana's data source does; the answer as frames. */
async function ask(target, width) {
  const interval = rangeUtil.calculateInterval(timeRange, Math.floor(width), `${scrape}s`).intervalMs / 1000;
  const rate = Math.max(interval + scrape, 4 * scrape);
  const query = target.expr.replaceAll('$__rate_interval', `${rate}s`).replaceAll('$namespace', '.*');
  const from = Math.floor((end - 86400) / interval) * interval;
  const at = target.instant ? { time: end } : { start: from, end, step: interval };
  const url = `${prometheus}/api/v1/query${target.instant ? '' : '_range'}?${new URLSearchParams({ query, ...at })}`;
  const answer = await (await fetch(url)).json();
  if (answer.status !== 'success') {
    throw new Error(`${query}: ${answer.error}`);
  }
  const series = answer.data.result.map(({ metric, value, values }) => ({ metric, values: values ?? [value] }));
  return target.format === 'table' ? [table(series, target.refId)] : series.map((one) => frame(one, target, interval));
}

function frame({ metric, values }, { legendFormat, refId }, interval) {
  const { __name__, ...labels } = metric;
  const legend = legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');
  const config = legendFormat === '__auto' ? {} : { displayNameFromDS: legend };
  return createDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000), config: { interval: interval * 1000 } },
      { name: 'Value', type: FieldType.number, values: values.map(([, value]) => parse(value)), labels, config },
    ],
  });
}

function table(series, refId) {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return createDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map(({ values: [[time]] }) => time * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: series.map(({ metric }) => metric[name] ?? '') })),
      { name: 'Value', type: FieldType.number, values: series.map(({ values: [[, value]] }) => parse(value)) },
    ],
  });
}

const parse = (value) => (value === 'NaN' ? null : Number(value));

async function load(panel) {
  const { width } = size(panel);
  const asked = (await Promise.all(panel.targets.map((target) => ask(target, width)))).flat();
  // Of several tables each has a column of its own for its values.
  const tables = asked.length > 1 && panel.type === 'table' ? asked : [];
  tables.forEach(({ refId, fields }) => { fields.at(-1).name = `Value #${refId}`; });
  const transformed = await firstValueFrom(transformDataFrame(panel.transformations ?? [], asked));
  const { defaults, overrides } = panel.fieldConfig;
  const own = DEFAULTS[panel.type];
  const fieldConfig = { overrides, defaults: { ...own, ...defaults, custom: { ...own.custom, ...defaults.custom } } };
  // JSON has no infinity: the lowest step of thresholds is null there.
  fieldConfig.defaults.thresholds?.steps.forEach((step) => { step.value ??= -Infinity; });
  overrides.flatMap((it) => it.properties).forEach(({ value }) => value?.steps?.forEach((step) => { step.value ??= -Infinity; }));
  const replaceVariables = (text) => text;
  // Where an answer leaves out steps, a line is not to go on.
  const whole = panel.type === 'timeseries' ? transformed.map((it) => applyNullInsertThreshold({ frame: it })) : transformed;
  const data = applyFieldOverrides({ data: whole, fieldConfig, replaceVariables, theme, timeZone: 'utc' });
  cacheFieldDisplayNames(data);
  return { panel, data, fieldConfig, replaceVariables };
}

function Stat({ data, fieldConfig, replaceVariables, panel: { options }, width, height }) {
  const [shown] = getFieldDisplayValues({
    fieldConfig, reduceOptions: options.reduceOptions, replaceVariables, theme, data, timeZone: 'utc',
  });
  const { colorMode, graphMode, textMode } = options;
  return <BigValue {...{ theme, width, height, colorMode, graphMode, textMode }} value={shown.display} justifyMode="auto" />;
}

const isEmpty = ({ data }) => data.every((it) => it.length === 0);

function Body({ loaded, width, height }) {
  const { panel, data, fieldConfig } = loaded;
  const { options, type } = panel;
  if (isEmpty(loaded)) {
    return <div className="empty">{fieldConfig.defaults.noValue ?? 'No data'}</div>;
  }
  switch (type) {
    case 'stat':
      return <Stat {...loaded} width={width} height={height} />;
    case 'table':
      return <TableNG data={data[0]} width={width} height={height} cellHeight={options.cellHeight ?? 'sm'}
        sortBy={options.sortBy} noHeader={!options.showHeader} enableVirtualization={false} fieldConfig={fieldConfig} />;
    case 'timeseries':
      return <TimeSeries frames={data} timeRange={timeRange} timeZone="utc" width={width} height={height} options={options}
        legend={{ showLegend: true, calcs: [], ...options.legend }} />;
    default:
      throw new Error(`a panel of type ${type}`);
  }
}

function Panel({ loaded }) {
  const { panel } = loaded;
  const padding = panel.type === 'table' ? 'none' : 'md';
  return (
    <PanelChrome title={panel.title} description={panel.description} padding={padding} {...size(panel)}>
      {(width, height) => <Body loaded={loaded} width={width} height={height} />}
    </PanelChrome>
  );
}

const place = ({ gridPos: { x, y } }) => ({ position: 'absolute', left: x * column, top: y * (CELL + GAP) });

async function draw() {
  const rows = dashboard.panels.filter((panel) => panel.type === 'row');
  const panels = await Promise.all(dashboard.panels.filter((panel) => panel.type !== 'row').map(load));
  const bottom = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <main style={{ width: WIDTH, padding: PADDING, background: theme.colors.background.canvas }}>
        <h1>{dashboard.title}</h1>
        <div style={{ position: 'relative', height: bottom * (CELL + GAP) }}>
          {rows.map((row) => <h2 key={row.id} style={place(row)}>{row.title}</h2>)}
          {panels.map((loaded) => <div key={loaded.panel.id} style={place(loaded.panel)}><Panel loaded={loaded} /></div>)}
        </div>
      </main>
    </ThemeContext.Provider>,
  );
  // Graphs are drawn one frame after the page; an icon is empty until it was read.
  const graphs = panels.filter((it) => it.panel.type === 'timeseries' && !isEmpty(it)).length;
  do {
    await new Promise((done) => requestAnimationFrame(done));
  } while (document.querySelector('svg:empty') || document.querySelectorAll('.u-over').length < graphs);
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return panels.filter(isEmpty).map(({ panel }) => panel.title);
}

// Whoever takes the picture waits for this: the titles of panels without data.
window.drawn = draw();
