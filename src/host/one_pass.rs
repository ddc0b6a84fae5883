//! For tests: a collector's samples as a scrape would show them.

use super::{Collector, Pass};
use crate::exposition::{Format, encode};
use crate::metric::Batch;
use std::time::{Duration, Instant};

/// The text of a pass, which must succeed.
pub(super) fn text_of(collector: &mut dyn Collector) -> String {
    let (mut batch, mut out) = (Batch::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(20);
    collector.collect(&mut Pass { batch: &mut batch, buffer: &mut Vec::new(), deadline }).unwrap();
    encode(&batch, Format::Text, &mut out);
    String::from_utf8(out).unwrap()
}
