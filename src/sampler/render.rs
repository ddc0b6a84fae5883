//! From a filled batch to the bytes of the answers, in buffers that are used again once the last
//! client has taken what was in them.
//!
//! Must not know: where samples come from, who asks.

use crate::exposition::{self, Format};
use crate::metric::Batch;
use bytes::Bytes;
use flate2::{Compress, CompressError, Compression, FlushCompress, Status};

/// Finished answers whose memory is kept for later ones. Enough for two formats, plain and
/// compressed; more are in use at once only while clients are slow to read.
const KEPT: usize = 4;
/// The whole window that deflate has, as every decoder must allow.
const WINDOW_BITS: u8 = 15;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The exposition format.
    pub format: Format,
    /// Whether it is compressed.
    pub gzip: bool,
}

/// Writes batches, and keeps what that takes from pass to pass.
#[derive(Default)]
pub(super) struct Renderer {
    kept: Vec<Bytes>,
    gzip: Option<Compress>,
}

impl Renderer {
    /// Renders the batch once for each encoding; the answers are in the order of `wanted`.
    pub(super) fn render(
        &mut self,
        batch: &Batch,
        wanted: &[Encoding],
    ) -> Result<Vec<Bytes>, CompressError> {
        let mut texts: Vec<(Format, Bytes)> = Vec::new();
        let mut bodies = Vec::with_capacity(wanted.len());
        for &Encoding { format, gzip } in wanted {
            let text = match texts.iter().find(|(rendered, _)| *rendered == format) {
                Some((_, text)) => text.clone(),
                None => {
                    let mut buffer = self.buffer();
                    exposition::encode(batch, format, &mut buffer);
                    let text = self.keep(buffer);
                    texts.push((format, text.clone()));
                    text
                }
            };
            bodies.push(if gzip { self.compress(&text)? } else { text });
        }
        Ok(bodies)
    }

    /// Level 1: metrics text shrinks to a tenth even so, and time is dearer than the rest.
    fn compress(&mut self, text: &[u8]) -> Result<Bytes, CompressError> {
        let mut out = self.buffer();
        let gzip =
            self.gzip.get_or_insert_with(|| Compress::new_gzip(Compression::fast(), WINDOW_BITS));
        gzip.reset();
        out.reserve(text.len() / 8 + 256);
        loop {
            let taken = usize::try_from(gzip.total_in()).unwrap_or(usize::MAX);
            let rest = text.get(taken..).unwrap_or_default();
            match gzip.compress_vec(rest, &mut out, FlushCompress::Finish)? {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError => out.reserve(out.capacity().max(256)),
            }
        }
        Ok(self.keep(out))
    }

    /// An empty buffer: one whose last reader is done with it, where there is one.
    fn buffer(&mut self) -> Vec<u8> {
        let Some(index) = self.kept.iter().position(Bytes::is_unique) else {
            return Vec::new();
        };
        let mut buffer = Vec::from(self.kept.swap_remove(index));
        buffer.clear();
        buffer
    }

    fn keep(&mut self, buffer: Vec<u8>) -> Bytes {
        let bytes = Bytes::from(buffer);
        if self.kept.len() < KEPT {
            self.kept.push(bytes.clone());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Family;
    use std::io::Read;

    const LONG: Family = Family::gauge("long", &["index"], "A sample of many.");
    const TEXT: Encoding = Encoding { format: Format::Text, gzip: false };
    const TEXT_GZIP: Encoding = Encoding { format: Format::Text, gzip: true };
    const OPENMETRICS: Encoding = Encoding { format: Format::OpenMetrics, gzip: false };

    fn batch(samples: u32) -> Batch {
        let mut batch = Batch::new();
        batch.begin(&LONG);
        for index in 0..samples {
            batch.sample(&[("index", &index.to_string())], f64::from(index).sqrt());
        }
        batch
    }

    fn unpack(gzip: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(gzip).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn each_encoding_once_and_in_order() {
        let mut renderer = Renderer::default();
        for samples in [20_000, 0, 3, 20_000] {
            let batch = batch(samples);
            let wanted = [TEXT_GZIP, OPENMETRICS, TEXT];
            let bodies = renderer.render(&batch, &wanted).unwrap();
            let mut text = Vec::new();
            exposition::encode(&batch, Format::Text, &mut text);
            assert_eq!(bodies.len(), 3);
            assert_eq!(unpack(&bodies[0]), text);
            assert!(bodies[1].ends_with(b"# EOF\n"));
            assert_eq!(bodies[2], text);
        }
    }

    #[test]
    fn memory_is_used_again_but_never_under_a_reader() {
        let mut renderer = Renderer::default();
        let batch = batch(1000);
        let first = renderer.render(&batch, &[TEXT]).unwrap().remove(0);
        let address = first.as_ptr();
        let held = renderer.render(&batch, &[TEXT]).unwrap().remove(0);
        assert_ne!(held.as_ptr(), address, "the first answer is still being read");
        drop(first);
        assert_eq!(renderer.render(&batch, &[TEXT]).unwrap()[0].as_ptr(), address);
        let many: Vec<_> = (0..20).map(|_| renderer.render(&batch, &[TEXT]).unwrap()).collect();
        assert!(renderer.kept.len() <= KEPT);
        drop(many);
    }
}
