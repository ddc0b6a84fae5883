//! The daemon's own instruments: what it measures about itself with the `prometheus` crate, in a
//! registry of its own, and how they enter the [`Batch`] that all families share.
//!
//! Must not know: what is measured elsewhere, formats, HTTP. Whoever holds a copy counts into it.

use crate::metric::{Batch, Family, Histogram, Kind};
use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricFamily};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, Result,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BUILD_INFO: Family =
    Family::gauge("musterd_build_info", &["version"], "Always 1; the label tells the version.");
const REQUESTS: Family = Family::counter(
    "musterd_http_requests_total",
    &["endpoint", "code"],
    "HTTP requests answered, by endpoint and status code.",
);
const REQUEST_DURATION: Family = Family::histogram(
    "musterd_http_request_duration_seconds",
    &["endpoint"],
    "Time from the head of an HTTP request to the answer being ready to be sent.",
);
const CONNECTIONS: Family =
    Family::gauge("musterd_http_connections", &[], "HTTP connections open at this moment.");
const REFUSED: Family = Family::counter(
    "musterd_refused_total",
    &["what", "reason"],
    "Things from outside that were refused, by what they were and why.",
);
const PASS_DURATION: Family = Family::histogram(
    "musterd_scrape_pass_duration_seconds",
    &[],
    "Time that one pass over all sources has taken, rendering included.",
);
const RELOADS: Family = Family::counter(
    "musterd_config_reloads_total",
    &["result"],
    "Times the configuration was read again, by result: success or failure.",
);
const LAST_RELOAD: Family = Family::gauge(
    "musterd_config_last_reload_success_timestamp_seconds",
    &[],
    "When the configuration in use was read, in seconds since 1970.",
);

/// All families of the registry, in the order they are exposed.
const REGISTERED: [Family; 8] = [
    BUILD_INFO,
    REQUESTS,
    REQUEST_DURATION,
    CONNECTIONS,
    REFUSED,
    PASS_DURATION,
    RELOADS,
    LAST_RELOAD,
];

/// All families that [`Instruments::fill`] can emit, for documentation and checks.
pub const FAMILIES: &[Family] = &REGISTERED;

/// Upper bounds, in seconds, for what is fast as a rule and may take as long as a scrape.
const SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0];

/// The daemon's own instruments. A clone counts into the same ones.
#[derive(Clone)]
pub struct Instruments {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    connections: IntGauge,
    refused: IntCounterVec,
    pass_duration: prometheus::Histogram,
    reloads: IntCounterVec,
    last_reload: prometheus::Gauge,
}

impl Instruments {
    /// Makes the instruments and registers them.
    ///
    /// # Errors
    /// When the registry has families of these names already.
    pub fn new(registry: Registry) -> Result<Self> {
        let build = GaugeVec::new(opts(&BUILD_INFO), BUILD_INFO.labels)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        register(&registry, &build)?;
        let instruments = Self {
            requests: counters(&registry, &REQUESTS)?,
            request_duration: histograms(&registry, &REQUEST_DURATION)?,
            connections: register(&registry, &IntGauge::new(CONNECTIONS.name, CONNECTIONS.help)?)?,
            refused: counters(&registry, &REFUSED)?,
            pass_duration: histograms(&registry, &PASS_DURATION)?.with_label_values::<&str>(&[]),
            reloads: counters(&registry, &RELOADS)?,
            last_reload: register(
                &registry,
                &prometheus::Gauge::new(LAST_RELOAD.name, LAST_RELOAD.help)?,
            )?,
            registry,
        };
        for result in ["success", "failure"] {
            instruments.reloads.with_label_values(&[result]);
        }
        instruments.last_reload.set(now());
        Ok(instruments)
    }

    /// Counts something from outside that was refused: `what` in the plural (`connections`,
    /// `hellos`), `reason` in a word or two (`limit`, `bad_json`).
    pub fn refused(&self, what: &'static str, reason: &'static str) {
        self.refused.with_label_values(&[what, reason]).inc();
    }

    /// Counts an HTTP request that was answered.
    pub fn request(&self, endpoint: &'static str, code: u16, duration: Duration) {
        let mut digits = itoa::Buffer::new();
        self.requests.with_label_values(&[endpoint, digits.format(code)]).inc();
        self.request_duration.with_label_values(&[endpoint]).observe(duration.as_secs_f64());
    }

    /// Says how many HTTP connections are open.
    pub fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Notes how long a pass over all sources has taken.
    pub fn pass(&self, duration: Duration) {
        self.pass_duration.observe(duration.as_secs_f64());
    }

    /// Counts a reload of the configuration.
    pub fn reload(&self, success: bool) {
        let result = if success { "success" } else { "failure" };
        self.reloads.with_label_values(&[result]).inc();
        if success {
            self.last_reload.set(now());
        }
    }

    /// Emits all of them.
    pub fn fill(&self, batch: &mut Batch) {
        let gathered = self.registry.gather();
        for family in &REGISTERED {
            if let Some(found) = gathered.iter().find(|found| found.name() == family.name) {
                batch.begin(family);
                emit(family.kind, found, batch);
            }
        }
    }
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, instrument: &C) -> Result<C> {
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument.clone())
}

fn counters(registry: &Registry, family: &Family) -> Result<IntCounterVec> {
    register(registry, &IntCounterVec::new(opts(family), family.labels)?)
}

fn histograms(registry: &Registry, family: &Family) -> Result<HistogramVec> {
    let opts = HistogramOpts { common_opts: opts(family), buckets: SECONDS.to_vec() };
    register(registry, &HistogramVec::new(opts, family.labels)?)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn emit(kind: Kind, family: &MetricFamily, batch: &mut Batch) {
    for metric in family.get_metric() {
        let labels: Vec<_> =
            metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
        match kind {
            Kind::Counter => batch.sample(&labels, metric.get_counter().get_value()),
            Kind::Gauge | Kind::Untyped | Kind::Summary => {
                batch.sample(&labels, metric.get_gauge().get_value())
            }
            Kind::Histogram => emit_histogram(metric, &labels, batch),
        }
    }
}

/// The crate's buckets are cumulated and end with the last bound; the batch wants each by itself,
/// and one more for what lies above.
fn emit_histogram(metric: &Metric, labels: &[(&str, &str)], batch: &mut Batch) {
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket();
    let bounds: Vec<_> = buckets.iter().map(|bucket| bucket.upper_bound()).collect();
    let mut below = 0;
    let mut own = |cumulated: u64| {
        let count = cumulated.saturating_sub(below);
        below = cumulated;
        count
    };
    let mut counts: Vec<_> = buckets.iter().map(|bucket| own(bucket.cumulative_count())).collect();
    counts.push(own(histogram.get_sample_count()));
    let sum = histogram.get_sample_sum();
    batch.histogram(labels, &Histogram { bounds: &bounds, counts: &counts, sum });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, encode};

    fn text(instruments: &Instruments) -> String {
        let mut batch = Batch::new();
        instruments.fill(&mut batch);
        let mut out = Vec::new();
        encode(&batch, Format::Text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_was_counted_is_exposed() {
        let instruments = Instruments::new(Registry::new()).unwrap();
        instruments.refused("connections", "limit");
        instruments.clone().refused("connections", "limit");
        instruments.request("/metrics", 200, Duration::from_millis(3));
        instruments.request("/metrics", 503, Duration::from_secs(60));
        instruments.connections(4);
        instruments.pass(Duration::from_micros(700));
        instruments.reload(false);
        let text = text(&instruments);
        for line in [
            concat!("musterd_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "musterd_refused_total{reason=\"limit\",what=\"connections\"} 2",
            "musterd_http_requests_total{code=\"503\",endpoint=\"/metrics\"} 1",
            "musterd_http_request_duration_seconds_bucket{endpoint=\"/metrics\",le=\"0.0025\"} 0",
            "musterd_http_request_duration_seconds_bucket{endpoint=\"/metrics\",le=\"0.005\"} 1",
            "musterd_http_request_duration_seconds_bucket{endpoint=\"/metrics\",le=\"10\"} 1",
            "musterd_http_request_duration_seconds_bucket{endpoint=\"/metrics\",le=\"+Inf\"} 2",
            "musterd_http_request_duration_seconds_count{endpoint=\"/metrics\"} 2",
            "musterd_http_connections 4",
            "musterd_scrape_pass_duration_seconds_count 1",
            "musterd_config_reloads_total{result=\"failure\"} 1",
            "musterd_config_reloads_total{result=\"success\"} 0",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn every_family_is_declared_as_it_is_registered() {
        let instruments = Instruments::new(Registry::new()).unwrap();
        instruments.refused("connections", "limit");
        instruments.request("/metrics", 200, Duration::ZERO);
        let gathered = instruments.registry.gather();
        assert_eq!(gathered.len(), REGISTERED.len());
        for family in REGISTERED {
            let found = gathered.iter().find(|found| found.name() == family.name).unwrap();
            let kind = format!("{:?}", found.get_field_type()).to_lowercase();
            assert_eq!(kind, family.kind.text(), "{}", family.name);
        }
    }

    #[test]
    fn registered_twice_is_an_error() {
        let registry = Registry::new();
        Instruments::new(registry.clone()).unwrap();
        assert!(Instruments::new(registry).is_err());
    }
}
