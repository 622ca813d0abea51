// @grafana/ui takes the default export of this CommonJS package, which esbuild gives it wrapped once too often.
export { Scrollbars as default, Scrollbars } from './node_modules/@grafana/ui/node_modules/react-custom-scrollbars-2/lib/index.js';
