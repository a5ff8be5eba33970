import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** The metrics of a process, in Prometheus' text form. */
export interface Metrics {
  /** A counter over a closed list of reasons: the returned function adds one and costs no look-up by labels. */
  counter<T extends string>(name: string, help: string, label: string): (value: T) => void;
  gauge(name: string, help: string, read: () => number): void;
  /** `buckets` are upper bounds in the unit that the name ends in. */
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
  /** Content type and text of all metrics. */
  render(): Promise<{ readonly type: string; readonly text: string }>;
}

export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  return {
    counter: <T extends string>(name: string, help: string, label: string) => {
      const counter = new Counter({ name, help, labelNames: [label], registers: [registry] });
      const bound = new Map<T, Counter.Internal>();
      return (value: T): void => {
        let one = bound.get(value);
        if (one === undefined) {
          one = counter.labels(value);
          bound.set(value, one);
        }
        one.inc();
      };
    },
    gauge: (name, help, read) => {
      const gauge: Gauge = new Gauge({ name, help, registers: [registry], collect: () => gauge.set(read()) });
    },
    histogram: (name, help, buckets) => {
      const histogram = new Histogram({ name, help, buckets: [...buckets], registers: [registry] });
      return (value) => histogram.observe(value);
    },
    render: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  };
}
